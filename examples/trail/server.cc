// trail_server [ADDRESS]: a guide that serves with callbacks: no thread waits for a client.
#include <ipcrpc/ipcrpc.h>

#include <cmath>
#include <cstdio>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "trail.ipcrpc.pb.h"

using ipcrpc::CallbackServerContext;
using ipcrpc::Status;
using trail::Area;
using trail::Hike;
using trail::Note;
using trail::Point;
using trail::Spot;

namespace {

Spot MakeSpot(const char* name, int east_m, int north_m) {
  Spot spot;
  spot.set_name(name);
  spot.mutable_at()->set_east_m(east_m);
  spot.mutable_at()->set_north_m(north_m);
  return spot;
}

const std::vector<Spot>& Spots() {
  static const std::vector<Spot> spots = {MakeSpot("spring", 0, 0), MakeSpot("old oak", 300, 400), MakeSpot("summit", 900, 1200)};
  return spots;
}

bool Same(const Point& a, const Point& b) { return a.east_m() == b.east_m() && a.north_m() == b.north_m(); }

const Spot* SpotAt(const Point& point) {
  for (const Spot& spot : Spots()) {
    if (Same(spot.at(), point)) return &spot;
  }
  return nullptr;
}

// Sends one spot after the other. A reactor lives from the handler to OnDone(), where it deletes itself.
class Survey final : public ipcrpc::ServerWriteReactor<Spot> {
 public:
  explicit Survey(const Area& area) : area_(area) { SendNext(); }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(Status(ipcrpc::StatusCode::UNKNOWN, "the client is gone"));
    SendNext();
  }
  void OnDone() override { delete this; }

 private:
  void SendNext() {
    for (; next_ < Spots().size(); ++next_) {
      const Point& at = Spots()[next_].at();
      const bool inside = at.east_m() >= area_.low().east_m() && at.east_m() <= area_.high().east_m() &&
                          at.north_m() >= area_.low().north_m() && at.north_m() <= area_.high().north_m();
      if (inside) return StartWrite(&Spots()[next_++]);
    }
    Finish(Status::OK);
  }

  const Area area_;
  size_t next_ = 0;
};

// Counts what it reads; the end of the client's points is where reading fails.
class Walk final : public ipcrpc::ServerReadReactor<Point> {
 public:
  explicit Walk(Hike* hike) : hike_(hike) { StartRead(&point_); }
  void OnReadDone(bool ok) override {
    if (!ok) {
      hike_->set_distance_m(static_cast<int>(std::lround(distance_m_)));
      return Finish(Status::OK);
    }
    if (hike_->points() > 0) {
      distance_m_ += std::hypot(point_.east_m() - last_.east_m(), point_.north_m() - last_.north_m());
    }
    hike_->set_points(hike_->points() + 1);
    if (SpotAt(point_) != nullptr) hike_->set_spots(hike_->spots() + 1);
    last_ = point_;
    StartRead(&point_);
  }
  void OnDone() override { delete this; }

 private:
  Hike* const hike_;  // the response, which lives as long as the call
  Point point_, last_;
  double distance_m_ = 0;
};

// Notes of everybody.
class Board {
 public:
  // What was there before.
  std::vector<Note> Leave(const Note& note) {
    std::lock_guard lock(mu_);
    std::vector<Note>& there = notes_[{note.at().east_m(), note.at().north_m()}];
    std::vector<Note> before = there;
    there.push_back(note);
    return before;
  }

 private:
  std::mutex mu_;
  std::map<std::pair<int, int>, std::vector<Note>> notes_;
};

// Reads a note, answers it with those that were left there before, reads the next.
class Talk final : public ipcrpc::ServerBidiReactor<Note, Note> {
 public:
  explicit Talk(Board& board) : board_(board) { StartRead(&note_); }
  void OnReadDone(bool ok) override {
    if (!ok) return Finish(Status::OK);
    answers_ = board_.Leave(note_);
    AnswerOrRead();
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(Status(ipcrpc::StatusCode::UNKNOWN, "the client is gone"));
    answers_.erase(answers_.begin());
    AnswerOrRead();
  }
  void OnDone() override { delete this; }

 private:
  void AnswerOrRead() { answers_.empty() ? StartRead(&note_) : StartWrite(&answers_.front()); }

  Board& board_;
  Note note_;
  std::vector<Note> answers_;
};

class Guide final : public trail::Guide::CallbackService {
 public:
  ipcrpc::ServerUnaryReactor* Look(CallbackServerContext* context, const Point* point, Spot* spot) override {
    if (const Spot* found = SpotAt(*point)) {
      *spot = *found;
    } else {
      *spot->mutable_at() = *point;
    }
    ipcrpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(Status::OK);
    return reactor;
  }
  ipcrpc::ServerWriteReactor<Spot>* Survey(CallbackServerContext*, const Area* area) override { return new ::Survey(*area); }
  ipcrpc::ServerReadReactor<Point>* Walk(CallbackServerContext*, Hike* hike) override { return new ::Walk(hike); }
  ipcrpc::ServerBidiReactor<Note, Note>* Talk(CallbackServerContext*) override { return new ::Talk(board_); }

 private:
  Board board_;
};

}  // namespace

int main(int argc, char** argv) {
  Guide guide;
  ipcrpc::ServerBuilder builder;
  builder.AddListeningPort(argc > 1 ? argv[1] : "shm:trail").RegisterService(&guide);
  auto server = builder.BuildAndStart();
  if (server == nullptr) {
    std::fprintf(stderr, "trail_server: %s\n", builder.error().c_str());
    return 1;
  }
  server->Wait();
}
