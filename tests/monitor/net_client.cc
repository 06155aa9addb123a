#include "tests/monitor/net_client.h"

#include "absl/strings/str_cat.h"

namespace ipcrpc::e2e {
namespace {

constexpr uint32_t kPage = 5000;
constexpr int kDifferencesShown = 5;

std::string Text(const std::string& serialised) {
  v1::NetObject object;
  object.ParseFromString(serialised);
  return object.ShortDebugString();
}

}  // namespace

ObjectCounts CountsOf(const std::vector<v1::NetObject>& objects) {
  ObjectCounts counts;
  for (const v1::NetObject& object : objects) ++counts[object.SerializeAsString()];
  return counts;
}

std::string Differences(const ObjectCounts& a, const ObjectCounts& b) {
  std::string text;
  int shown = 0;
  const auto compare = [&](const ObjectCounts& these, const ObjectCounts& others, const char* which) {
    for (const auto& [object, count] : these) {
      auto found = others.find(object);
      if (found != others.end() && found->second == count) continue;
      if (shown++ < kDifferencesShown) absl::StrAppend(&text, which, " has ", Text(object), "\n");
    }
  };
  compare(a, b, "the first");
  compare(b, a, "the second");
  if (shown > kDifferencesShown) absl::StrAppend(&text, "and ", shown - kDifferencesShown, " more\n");
  return text;
}

Status ListPages(v1::NetEvents::Stub& stub, v1::ListRequest request, v1::ListReply* reply) {
  request.set_page_size(kPage);
  reply->Clear();
  for (;;) {
    ClientContext context;
    v1::ListReply page;
    if (Status status = stub.List(&context, request, &page); !status.ok()) return status;
    if (!request.page_token().empty() && page.revision() != reply->revision()) {
      return Status(StatusCode::DATA_LOSS, "a page of another revision");
    }
    // Single fields as in the last, which are as in the first.
    reply->MergeFrom(page);
    if (page.next_page_token().empty()) break;
    request.set_page_token(page.next_page_token());
  }
  reply->clear_next_page_token();
  return Status::OK;
}

Replay::Replay(const std::string& address, v1::WatchRequest request)
    : request_(std::move(request)),
      stub_(v1::NetEvents::NewStub(CreateChannel(address))),
      list_stub_(v1::NetEvents::NewStub(CreateChannel(address))),
      reader_(stub_->Watch(&context_, request_)),
      view_(std::make_unique<monitor::NetView>(monitor::NetView::For(request_).value())) {}

void Replay::Run(const std::function<bool(const v1::NetEvent&)>& stop) {
  v1::NetEvent event;
  while (error_.empty() && reader_->Read(&event)) {
    Take(event);
    if (stop(event)) return;
  }
  if (!error_.empty()) context_.TryCancel();
  const Status status = reader_->Finish();
  if (error_.empty() && status.error_code() != StatusCode::CANCELLED) error_ = status.error_message();
}

void Replay::Take(const v1::NetEvent& event) {
  const uint64_t before = view_->revision();
  const bool settled = view_->complete(), stale = view_->stale();
  if (absl::Status status = view_->Apply(event); !status.ok()) {
    error_ = std::string(status.message());
    return;
  }
  ++counts_.events;
  switch (event.action()) {
    case v1::NetEvent::OVERRUN:
      if (event.missed() != 0) {
        ++counts_.restarts;
        in_gap_ = false;
        return;
      }
      ++counts_.overruns;
      // That nobody listens, or that somebody does again, is also said within a gap.
      if (in_gap_ && event.stale() == stale) error_ = "two OVERRUNs without a RESYNC";
      in_gap_ = true;
      break;
    case v1::NetEvent::RESYNC:
      ++counts_.resyncs;
      in_gap_ = false;
      break;
    case v1::NetEvent::BOOKMARK:
      ++counts_.bookmarks;
      if (event.revision() != before && settled) error_ = "a BOOKMARK past what was told";
      CompareAtBookmark(event.revision());
      return;
    default: break;
  }
  // Without filters each revision is told, so that a hole is a loss.
  if (settled && view_->complete() && event.revision() != before + 1) {
    error_ = absl::StrCat("after revision ", before, " comes ", event.revision());
  }
}

void Replay::CompareAtBookmark(uint64_t revision) {
  v1::ListRequest request;
  request.set_revision(revision);
  v1::ListReply list;
  const Status status = ListPages(*list_stub_, request, &list);
  if (status.error_code() == StatusCode::OUT_OF_RANGE || status.error_code() == StatusCode::ABORTED) return;
  if (!status.ok()) {
    error_ = absl::StrCat("list at revision ", revision, ": ", status.error_message());
    return;
  }
  ++counts_.compared;
  const std::string differences = Differences(CountsOf(view_->objects()), CountsOf(monitor::ObjectsOf(list)));
  if (!differences.empty()) error_ = absl::StrCat("at the BOOKMARK of revision ", revision, ":\n", differences);
}

}  // namespace ipcrpc::e2e
