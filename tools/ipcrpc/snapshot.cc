// ipcrpc snapshot [NAME|FILE]: what a daemon left in shared memory, as JSON. No call, and no .proto: the
// snapshot has its types with it.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>

#include <chrono>
#include <climits>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "ipcrpc/admin.h"
#include "ipcrpc/raw_snapshot.h"
#include "tools/ipcrpc/commands.h"
#include "tools/ipcrpc/json.h"
#include "tools/ipcrpc/output.h"

namespace ipcrpc::cli {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::Message;

// A writer that we cannot see, in another PID namespace, counts as dead after so long without a word.
constexpr std::chrono::seconds kLongSilence(10);

// The types of one schema, built from its own descriptors.
class Types {
 public:
  static absl::StatusOr<std::unique_ptr<Types>> Make(const SnapshotSchema& schema, const std::string& path) {
    const auto unusable = [&](const std::string& why) {
      return absl::DataLossError(path + " has unusable descriptors: " + why);
    };
    google::protobuf::FileDescriptorSet files;
    if (schema.type_name.empty()) {
      return absl::FailedPreconditionError(path + " does not say of which type it is, so it cannot be shown");
    }
    if (!files.ParseFromString(schema.descriptors)) return unusable("they do not parse");
    std::unique_ptr<Types> types(new Types);
    Errors errors;
    for (const auto& file : files.file()) {
      if (types->pool_.BuildFileCollectingErrors(file, &errors) == nullptr) return unusable(errors.first);
    }
    const Descriptor* type = types->pool_.FindMessageTypeByName(schema.type_name);
    if (type == nullptr) return unusable("they lack its type, " + schema.type_name);
    types->message_.reset(types->factory_.GetPrototype(type)->New());
    types->schema_ = schema;
    return types;
  }

  bool Fits(const SnapshotSchema& schema) const {
    return schema.type_name == schema_.type_name && schema.descriptors == schema_.descriptors;
  }

  // Of this; overwritten by each use.
  Message* message() { return message_.get(); }

 private:
  struct Errors final : DescriptorPool::ErrorCollector {
    void AddError(const std::string& file, const std::string& element, const Message*, ErrorLocation,
                  const std::string& message) override {
      if (first.empty()) first = file + ": " + element + ": " + message;
    }
    std::string first;
  };
  Types() = default;

  SnapshotSchema schema_;
  DescriptorPool pool_;
  google::protobuf::DynamicMessageFactory factory_{&pool_};
  std::unique_ptr<Message> message_;
};

absl::Status ToStatus(const SnapshotError& error) {
  return error.ok() ? absl::OkStatus()
                    : absl::Status(static_cast<absl::StatusCode>(error.code), error.message);
}

absl::Status List() {
  for (const std::string& name : ListSnapshots()) {
    if (absl::Status printed = PrintLine(name); !printed.ok()) return printed;
  }
  return absl::OkStatus();
}

absl::Status Explain(const absl::Status& status, const std::string& place) {
  if (!absl::IsNotFound(status)) return status;
  const std::vector<std::string> names = ListSnapshots();
  return absl::NotFoundError(std::string(View(status)) +
                             admin::DidYouMean(place.substr(0, place.find('?')), names));
}

absl::Status Show(const RawSnapshotReader& reader, std::unique_ptr<Types>& types, JsonForm form) {
  if (types == nullptr || !types->Fits(reader.schema())) {
    absl::StatusOr<std::unique_ptr<Types>> made = Types::Make(reader.schema(), reader.path());
    if (!made.ok()) return made.status();
    types = *std::move(made);
  }
  if (reader.size() > INT_MAX ||
      !types->message()->ParseFromArray(reader.data(), static_cast<int>(reader.size()))) {
    return absl::DataLossError(reader.path() + ": what is published is no " + reader.schema().type_name);
  }
  const absl::StatusOr<std::string> json = MessageToJson(*types->message(), form);
  return json.ok() ? PrintLine(*json) : json.status();
}

// What is wrong with the writer; OK when nothing is.
absl::Status CheckWriter(const RawSnapshotReader& reader) {
  const SnapshotWriter writer = reader.writer();
  const auto silence = std::chrono::duration_cast<std::chrono::seconds>(writer.silence);
  const std::string since = "last heard of " + std::to_string(silence.count()) + " s ago";
  const std::string pid = "pid " + std::to_string(writer.pid);
  if (writer.state == SnapshotWriter::State::kDead) {
    return StaleError(reader.path() + " is stale: its writer, " + pid + ", is dead, " + since);
  }
  if (writer.state == SnapshotWriter::State::kInvisible && silence >= kLongSilence) {
    return StaleError(reader.path() + " may be stale: its writer, " + pid +
                      " of another PID namespace, was " + since);
  }
  return absl::OkStatus();
}

absl::Status Watch(RawSnapshotReader& reader, std::unique_ptr<Types>& types, JsonForm form) {
  for (;;) {
    if (const SnapshotError error = reader.WaitForChange(std::chrono::steady_clock::time_point::max());
        !error.ok()) {
      return StaleError(error.message);
    }
    const SnapshotError error = reader.Read();
    if (error.code == static_cast<int>(absl::StatusCode::kAborted)) continue;  // a fast writer
    if (error.code == static_cast<int>(absl::StatusCode::kNotFound)) {
      return StaleError(reader.path() + ": its writer has stopped");
    }
    if (!error.ok()) return ToStatus(error);
    if (absl::Status shown = Show(reader, types, form); !shown.ok()) return shown;
  }
}

}  // namespace

absl::Status Snapshot(const SnapshotOptions& options) {
  if (options.place.empty()) {
    if (options.watch) return UsageError("snapshot: NAME or FILE is missing: what to watch?");
    return List();
  }
  RawSnapshotReader reader(options.place);
  if (absl::Status status = ToStatus(reader.Read()); !status.ok()) return Explain(status, options.place);

  const bool one_line = options.compact || (options.watch && !options.pretty);
  const JsonForm form = one_line ? JsonForm::kOneLine : JsonForm::kPretty;
  std::unique_ptr<Types> types;
  if (absl::Status shown = Show(reader, types, form); !shown.ok()) return shown;

  absl::Status stale = CheckWriter(reader);
  if (stale.ok() && options.watch) stale = Watch(reader, types, form);
  if (options.stale_ok && ExitCodeOf(stale) == kExitStale) {
    Report(stale);
    return absl::OkStatus();
  }
  return stale;
}

}  // namespace ipcrpc::cli
