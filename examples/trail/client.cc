// trail_client [ADDRESS]: asks the guide everything, with callbacks, and prints what it is told.
#include <ipcrpc/ipcrpc.h>

#include <chrono>
#include <cstdio>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "trail.ipcrpc.pb.h"

using ipcrpc::ClientContext;
using ipcrpc::Status;
using trail::Area;
using trail::Hike;
using trail::Note;
using trail::Point;
using trail::Spot;

namespace {

Point At(int east_m, int north_m) {
  Point point;
  point.set_east_m(east_m);
  point.set_north_m(north_m);
  return point;
}

void Prepare(ClientContext& context) {
  context.set_wait_for_ready(true);
  context.set_deadline(std::chrono::steady_clock::now() + std::chrono::seconds(10));
}

// A reactor whose end the main thread waits for. The reactions are told on threads of the library.
template <class Reactor>
class Awaited : public Reactor {
 public:
  Awaited() { Prepare(context_); }
  void OnDone(const Status& status) override { done_.set_value(status); }
  Status Await() { return done_.get_future().get(); }

 protected:
  ClientContext context_;

 private:
  std::promise<Status> done_;
};

Status Look(trail::Guide::Stub& guide) {
  ClientContext context;
  Prepare(context);
  const Point point = At(300, 400);
  Spot spot;
  std::promise<Status> done;
  guide.async()->Look(&context, &point, &spot, [&](Status status) { done.set_value(std::move(status)); });
  const Status status = done.get_future().get();
  if (status.ok()) std::printf("here: %s\n", spot.name().c_str());
  return status;
}

class Survey final : public Awaited<ipcrpc::ClientReadReactor<Spot>> {
 public:
  explicit Survey(trail::Guide::Stub& guide) {
    *area_.mutable_low() = At(0, 0);
    *area_.mutable_high() = At(500, 500);
    guide.async()->Survey(&context_, &area_, this);
    StartRead(&spot_);
    StartCall();
  }
  void OnReadDone(bool ok) override {
    if (!ok) return;
    std::printf("in the area: %s\n", spot_.name().c_str());
    StartRead(&spot_);
  }

 private:
  Area area_;
  Spot spot_;
};

class Walk final : public Awaited<ipcrpc::ClientWriteReactor<Point>> {
 public:
  explicit Walk(trail::Guide::Stub& guide) {
    guide.async()->Walk(&context_, &hike_, this);
    Step();
    StartCall();
  }
  void OnWriteDone(bool ok) override {
    if (ok && next_ < points_.size()) Step();
  }
  const Hike& hike() const { return hike_; }

 private:
  void Step() {
    const Point& point = points_[next_++];
    next_ < points_.size() ? StartWrite(&point) : StartWriteLast(&point, ipcrpc::WriteOptions());
  }

  const std::vector<Point> points_ = {At(0, 0), At(300, 400), At(600, 800), At(900, 1200)};
  size_t next_ = 0;
  Hike hike_;
};

class Talk final : public Awaited<ipcrpc::ClientBidiReactor<Note, Note>> {
 public:
  explicit Talk(trail::Guide::Stub& guide) {
    for (const char* text : {"muddy", "still muddy", "dry again"}) {
      Note& note = notes_.emplace_back();
      *note.mutable_at() = At(7, 7);
      note.set_text(text);
    }
    guide.async()->Talk(&context_, this);
    StartRead(&heard_);
    StartWrite(&notes_[0]);
    StartCall();
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return;
    ++next_ < notes_.size() ? StartWrite(&notes_[next_]) : StartWritesDone();
  }
  void OnReadDone(bool ok) override {
    if (!ok) return;
    std::printf("left before: %s\n", heard_.text().c_str());
    StartRead(&heard_);
  }

 private:
  std::vector<Note> notes_;
  size_t next_ = 0;
  Note heard_;
};

int Failed(const char* what, const Status& status) {
  std::fprintf(stderr, "trail_client: %s: %s\n", what, status.error_message().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  const auto guide = trail::Guide::NewStub(ipcrpc::CreateChannel(argc > 1 ? argv[1] : "shm:trail"));
  if (Status status = Look(*guide); !status.ok()) return Failed("look", status);
  Survey survey(*guide);
  if (Status status = survey.Await(); !status.ok()) return Failed("survey", status);
  Walk walk(*guide);
  if (Status status = walk.Await(); !status.ok()) return Failed("walk", status);
  std::printf("walked: %d m by %d points, past %d spots\n", walk.hike().distance_m(), walk.hike().points(), walk.hike().spots());
  Talk talk(*guide);
  if (Status status = talk.Await(); !status.ok()) return Failed("talk", status);
}
