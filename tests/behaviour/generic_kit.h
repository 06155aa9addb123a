// Calls without generated classes: messages as bytes, and a service that takes any method.
#pragma once

#include <ipcrpc/generic/callback_generic_service.h>
#include <ipcrpc/generic/generic_stub.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/behaviour/fixture.h"

namespace behaviour {

using ipcrpc::ByteBuffer;

inline ByteBuffer Bytes(const std::string& text) {
  const ipcrpc::Slice slice(text);
  return ByteBuffer(&slice, 1);
}

inline std::string Text(const ByteBuffer& buffer) {
  std::vector<ipcrpc::Slice> slices;
  EXPECT_TRUE(buffer.Dump(&slices).ok());
  std::string text;
  for (const ipcrpc::Slice& slice : slices) text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return text;
}

// One message there, one back.
inline Status CallByName(const std::shared_ptr<Channel>& channel, const std::string& method, const ByteBuffer& request,
                         ByteBuffer* response) {
  ipcrpc::GenericStub stub(channel);
  ClientContext context;
  context.set_deadline(In(20s));
  Event done;
  Status result;
  stub.UnaryCall(&context, method, ipcrpc::StubOptions(), &request, response, [&](Status status) {
    result = std::move(status);
    done.Set();
  });
  EXPECT_TRUE(done.Wait());
  return result;
}

// One message there, the method's name and that message back.
class Echoes final : public ipcrpc::CallbackGenericService {
 public:
  ipcrpc::ServerGenericBidiReactor* CreateReactor(ipcrpc::GenericCallbackServerContext* context) override {
    return new Reactor(context->method());
  }

 private:
  class Reactor final : public ipcrpc::ServerGenericBidiReactor {
   public:
    explicit Reactor(std::string method) : method_(std::move(method)) { StartRead(&in_); }
    void OnReadDone(bool ok) override {
      if (!ok) return Finish(Status(StatusCode::INTERNAL, "no message came"));
      out_ = Bytes(method_ + " " + Text(in_));
      StartWriteAndFinish(&out_, ipcrpc::WriteOptions(), Status::OK);
    }
    void OnDone() override { delete this; }

   private:
    const std::string method_;
    ByteBuffer in_, out_;
  };
};

}  // namespace behaviour
