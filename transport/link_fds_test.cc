// The contract of Link::SendFds() and TakeFds(), for every scheme that passes descriptors, in one process and across processes.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <iterator>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "transport/base/strings.h"
#include "transport/fd_queue.h"
#include "transport/link.h"
#include "transport/scheme.h"
#include "transport/testing/link_driver.h"
#include "transport/testing/link_peer.h"
#include "transport/testing/meeting_place.h"
#include "transport/testing/refuse_system_call.h"
#include "transport/testing/swept_dir.h"

namespace ipcrpc {
namespace {

using ::testing::HasSubstr;
using Sending = Link::FdSending;
using Verdict = FrameSink::Verdict;

// A file of its own, whose inode is told from others'.
UniqueFd MakeFile() { return UniqueFd(memfd_create("passed", MFD_CLOEXEC)); }

// How many descriptors of such files this process has.
int OpenFiles() {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code closed_meanwhile;
    if (std::filesystem::read_symlink(entry.path(), closed_meanwhile).string().starts_with("/memfd:passed")) ++count;
  }
  return count;
}

std::vector<UniqueFd> MakeFiles(size_t count) {
  std::vector<UniqueFd> files;
  for (size_t i = 0; i < count; ++i) files.push_back(MakeFile());
  return files;
}

ino_t InodeOf(const UniqueFd& fd) {
  struct stat info = {};
  EXPECT_EQ(fstat(fd.get(), &info), 0);
  return info.st_ino;
}

int64_t ProcessCpuNs() {
  timespec used;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return used.tv_sec * 1'000'000'000 + used.tv_nsec;
}

// No more descriptors can be had while it lives.
class NoMoreDescriptors {
 public:
  NoMoreDescriptors() {
    getrlimit(RLIMIT_NOFILE, &before_);
    const UniqueFd lowest = UniqueFd::DuplicateOf(0);
    rlimit none = before_;
    none.rlim_cur = static_cast<rlim_t>(lowest.get());
    setrlimit(RLIMIT_NOFILE, &none);
  }
  ~NoMoreDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_ = {};
};

struct Case {
  std::string_view name;
  std::string_view address;
  bool process = true;  // the peer is another one
};

constexpr Case kCases[] = {
    {"shm", "shm:fds"},
    {"shm_thread", "shm:fds", false},
    {"shm_posix_sem", "shm:fds?segment=posix&wake=sem"},
    {"shm_sysv_sysvsem", "shm:fds?segment=sysv&wake=sysvsem"},
    {"unix", "unix:fds"},
    {"unix_thread", "unix:fds", false},
    {"unix_small", "unix:fds?buffer=8K"},
    {"socketpair", "socketpair:"},
    {"inproc", "inproc:fds", false},
};

class LinkFds : public ::testing::TestWithParam<Case> {
 protected:
  void Start(const std::string& role) {
    place_ = std::make_unique<MeetingPlace>(GetParam().address);
    host_ = std::make_unique<LinkHost>(place_->server());
    if (GetParam().process) {
      process_ = std::make_unique<PeerProcess>(PeerProcess::Side::kConnects, place_->client(), role, place_->client_descriptors());
      place_->ForgetClient();
    } else {
      absl::StatusOr<std::unique_ptr<Link>> link = Connect(*ParseAddress(place_->client()), InMs(20000));
      ASSERT_TRUE(link.ok()) << link.status();
      thread_ = std::make_unique<PeerThread>(role, *std::move(link));
    }
    link_ = host_->Accept();
    ASSERT_NE(link_, nullptr);
    driver_ = std::make_unique<LinkDriver>(*link_);
    // Takes the descriptors of each frame, unless a test has it otherwise.
    driver_->on_frame = [this](const Bytes& frame) {
      const std::optional<FdFrame> announced = ReadFdFrame(frame);
      if (!announced.has_value()) return Verdict::kFault;
      absl::StatusOr<std::vector<UniqueFd>> fds = link_->TakeFds(announced->parcel, announced->count);
      last_ = fds.status();
      if (fds.ok()) std::move(fds->begin(), fds->end(), std::back_inserter(came_));
      return Verdict::kConsumed;
    };
  }
  void Go() { thread_ ? thread_->Go() : process_->Go(); }
  int JoinPeer() { return thread_ ? thread_->Join() : process_->Join(); }
  // Sends when there is space.
  bool Send(std::span<const UniqueFd> fds, size_t frame_bytes) {
    Sending sent = Sending::kNoSpace;
    return driver_->DriveUntil([&] {
      sent = driver_->TrySendFds(fds, frame_bytes);
      return sent != Sending::kNoSpace;
    }) && sent == Sending::kSent;
  }
  // The link still carries descriptors both ways.
  void ExpectEcho() {
    came_.clear();
    const std::vector<UniqueFd> files = MakeFiles(2);
    ASSERT_TRUE(Send(files, 100)) << link_->status();
    ASSERT_TRUE(driver_->DriveUntil([&] { return came_.size() == 2; })) << link_->status();
    EXPECT_EQ(InodeOf(came_[0]), InodeOf(files[0]));
    EXPECT_EQ(InodeOf(came_[1]), InodeOf(files[1]));
  }

  SweptRuntimeDir directory_;
  std::unique_ptr<MeetingPlace> place_;
  std::unique_ptr<LinkHost> host_;
  std::unique_ptr<PeerProcess> process_;
  std::unique_ptr<PeerThread> thread_;
  std::unique_ptr<Link> link_;
  std::unique_ptr<LinkDriver> driver_;
  std::vector<UniqueFd> came_;
  absl::Status last_;
};

class LinkFdsAcross : public LinkFds {};
class LinkFdsDuplicated : public LinkFds {};

TEST_P(LinkFds, ComeWithTheirFramesInOrder) {
  Start("echo-fds");
  ASSERT_TRUE(link_->capabilities().passes_fds);
  ASSERT_TRUE((*FindScheme(host_->listener().address().scheme))->capabilities.passes_fds);
  const std::vector<UniqueFd> files = MakeFiles(kMaxFdsPerMessage);
  std::vector<ino_t> expected;
  const size_t largest = link_->max_frame_bytes() - FdFrame::kLeastBytes;  // of both ends: they may grow apart
  for (uint64_t i = 0; i < 300; ++i) {
    const size_t count = 1 + i % kMaxFdsPerMessage, first = i % (kMaxFdsPerMessage - count + 1);
    const std::span<const UniqueFd> some = std::span(files).subspan(first, count);
    for (const UniqueFd& fd : some) expected.push_back(InodeOf(fd));
    ASSERT_TRUE(Send(some, FdFrame::kLeastBytes + FrameSize(1, i, largest))) << link_->status();
  }
  ASSERT_TRUE(driver_->DriveUntil([&] { return came_.size() == expected.size(); })) << came_.size() << " " << link_->status();
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(InodeOf(came_[i]), expected[i]) << i;
    EXPECT_NE(fcntl(came_[i].get(), F_GETFD) & FD_CLOEXEC, 0);
  }
}

// Frames that announce none go between those that do.
TEST_P(LinkFds, GoBesideFramesWithoutAny) {
  Start("echo-fds");
  const std::vector<UniqueFd> files = MakeFiles(1);
  const auto take = driver_->on_frame;
  std::vector<uint32_t> counts;
  driver_->on_frame = [&](const Bytes& frame) {
    const std::optional<FdFrame> announced = ReadFdFrame(frame);
    EXPECT_TRUE(announced.has_value());
    counts.push_back(announced.has_value() ? announced->count : 99);
    return counts.back() == 1 ? take(frame) : Verdict::kConsumed;
  };
  constexpr size_t kFrames = 200;
  for (uint32_t i = 0; i < kFrames; ++i) {
    if (i % 3 == 1) {
      ASSERT_TRUE(Send(files, 50 + i));
    } else {
      ASSERT_TRUE(driver_->Send(MakeFdFrame({}, 50 + i * 20)));
    }
  }
  ASSERT_TRUE(driver_->DriveUntil([&] { return counts.size() == kFrames; })) << link_->status();
  for (size_t i = 0; i < kFrames; ++i) EXPECT_EQ(counts[i], i % 3 == 1 ? 1u : 0u) << i;
  for (const UniqueFd& fd : came_) EXPECT_EQ(InodeOf(fd), InodeOf(files[0]));
}

TEST_P(LinkFds, WaitForAPeerThatDoesNotRead) {
  Start("sleepy-echo-fds");
  const std::vector<UniqueFd> files = MakeFiles(kMaxFdsPerMessage);
  // It sleeps, and so is never asked to be fast: soon there is no space for more.
  size_t sent = 0;
  while (sent < 100'000 && driver_->TrySendFds(files, 3000) == Sending::kSent) ++sent;
  ASSERT_GT(sent, 0u);
  ASSERT_LT(sent, 10'000u);
  EXPECT_EQ(driver_->spaces, 0);
  // Nothing spins meanwhile.
  const int64_t before = ProcessCpuNs();
  driver_->DriveUntil([] { return false; }, 200);
  EXPECT_LT(ProcessCpuNs() - before, 100'000'000);
  Go();
  ASSERT_TRUE(driver_->DriveUntil([&] { return driver_->spaces > 0; })) << link_->status();
  ASSERT_TRUE(driver_->DriveUntil([&] { return came_.size() == sent * kMaxFdsPerMessage; })) << link_->status();
  ExpectEcho();
}

// In another process, since a limit is the sender's, too.
TEST_P(LinkFdsAcross, AreLostAtTheLimitOfOpenFilesAndTheLinkGoesOn) {
  Start("sleepy-echo-fds");
  const std::vector<UniqueFd> files = MakeFiles(3);
  ASSERT_EQ(driver_->TrySendFds(files, 100), Sending::kSent);
  driver_->Poll();
  {
    const NoMoreDescriptors limit;
    Go();
    ASSERT_TRUE(driver_->DriveUntil([&] { return driver_->frames == 1; })) << link_->status();
  }
  EXPECT_TRUE(absl::IsResourceExhausted(last_)) << last_;
  EXPECT_THAT(MessageOf(last_), HasSubstr("limit of open files"));
  EXPECT_TRUE(came_.empty());
  ExpectEcho();
}

// In one process it is the sender who has none free.
TEST_P(LinkFdsDuplicated, AreRefusedAtTheLimitOfOpenFilesWhereTheyAreDuplicated) {
  Start("echo-fds");
  const std::vector<UniqueFd> files = MakeFiles(3);
  {
    const NoMoreDescriptors limit;
    EXPECT_EQ(driver_->TrySendFds(files, 100), Sending::kRefused);
    EXPECT_EQ(errno, EMFILE);
  }
  ExpectEcho();
}

// As it does when too many of a user's are on their way. The thread that is refused them is the one.
TEST_P(LinkFdsAcross, AreRefusedWhereTheKernelRefuses) {
  Start("echo-fds");
  ExpectEcho();
  Sending sent = Sending::kSent;
  int error = 0;
  std::thread([&] {
    const std::vector<UniqueFd> files = MakeFiles(3);
    RefuseSystemCall(SYS_sendmsg, ETOOMANYREFS);
    sent = driver_->TrySendFds(files, 100);
    error = errno;
  }).join();
  EXPECT_EQ(sent, Sending::kRefused);
  EXPECT_EQ(error, ETOOMANYREFS);
  ExpectEcho();
}

TEST_P(LinkFdsAcross, OfAPeerThatDiedAreDelivered) {
  constexpr size_t kParcels = 5;
  Start(Cat("send-fds-and-die ", kParcels));
  EXPECT_EQ(JoinPeer(), -SIGKILL);
  EXPECT_FALSE(driver_->DriveUntil([] { return false; }));
  EXPECT_TRUE(driver_->closed);
  EXPECT_EQ(came_.size(), kParcels) << link_->status();
  for (const UniqueFd& fd : came_) EXPECT_NE(fcntl(fd.get(), F_GETFD), -1);
}

TEST_P(LinkFds, ToAPeerThatIsGoneIsNoError) {
  Start("idle");
  EXPECT_EQ(JoinPeer(), 0);
  const std::vector<UniqueFd> files = MakeFiles(2);
  for (int i = 0; i < 20; ++i) {
    const Sending sent = driver_->TrySendFds(files, 100);
    EXPECT_NE(sent, Sending::kRefused);
    if (sent == Sending::kNoSpace) break;
  }
  EXPECT_FALSE(driver_->DriveUntil([] { return false; }));
  EXPECT_TRUE(absl::IsUnavailable(link_->status())) << link_->status();
  EXPECT_EQ(driver_->TrySendFds(files, 100), Sending::kSent) << "a closed link takes everything";
}

TEST_P(LinkFds, AFrameMayAnnounceNothingButWhatCame) {
  Start("echo-fds");
  std::vector<absl::Status> statuses;
  driver_->on_frame = [&](const Bytes& frame) {
    const FdFrame announced = *ReadFdFrame(frame);
    statuses.push_back(link_->TakeFds(announced.parcel + 1, announced.count).status());
    statuses.push_back(link_->TakeFds(announced.parcel, announced.count + 1).status());
    statuses.push_back(link_->TakeFds(announced.parcel, announced.count).status());  // gone with the one before
    return Verdict::kConsumed;
  };
  ASSERT_TRUE(Send(MakeFiles(2), 100));
  ASSERT_TRUE(driver_->DriveUntil([&] { return statuses.size() == 3; })) << link_->status();
  for (const absl::Status& status : statuses) EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
}

TEST_P(LinkFds, ThoseThatNobodyTakesAreClosed) {
  const auto all_closed = [&] {
    const int64_t deadline = InMs(20000);
    while (OpenFiles() != 0 && MonotonicNs() < deadline) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return OpenFiles() == 0;
  };
  for (const bool dropped : {true, false}) {
    Start("sleepy-echo-fds");
    int frames = 0;
    driver_->on_frame = [&](const Bytes&) {
      ++frames;
      if (dropped) link_->DropFds();
      return Verdict::kConsumed;
    };
    std::vector<UniqueFd> files = MakeFiles(kMaxFdsPerMessage);
    ASSERT_EQ(OpenFiles(), static_cast<int>(kMaxFdsPerMessage));
    ASSERT_EQ(driver_->TrySendFds(files, 100), Sending::kSent);
    files.clear();
    if (dropped) {
      Go();
      ASSERT_TRUE(driver_->DriveUntil([&] { return frames == 1; })) << link_->status();
    }
    driver_.reset();
    link_.reset();
    JoinPeer();
    process_.reset();
    thread_.reset();
    host_.reset();
    place_.reset();
  }
  EXPECT_TRUE(all_closed()) << OpenFiles();
}

template <typename Predicate>
auto CasesThat(Predicate&& can) {
  std::vector<Case> cases;
  std::copy_if(std::begin(kCases), std::end(kCases), std::back_inserter(cases), can);
  return ::testing::ValuesIn(cases);
}
std::string NameOf(const ::testing::TestParamInfo<Case>& test) { return std::string(test.param.name); }

INSTANTIATE_TEST_SUITE_P(Schemes, LinkFds, ::testing::ValuesIn(kCases), NameOf);
INSTANTIATE_TEST_SUITE_P(Schemes, LinkFdsAcross, CasesThat([](const Case& c) { return c.process; }), NameOf);
INSTANTIATE_TEST_SUITE_P(Schemes, LinkFdsDuplicated, CasesThat([](const Case& c) { return c.address.starts_with("inproc:"); }), NameOf);

TEST(FdQueueTest, TakesNoMoreThanItsLimitAndNothingOutOfOrder) {
  FdQueue queue(2);
  EXPECT_EQ(queue.next_number(), 1u);
  EXPECT_TRUE(absl::IsInvalidArgument(queue.Take(1, 1).status()));
  EXPECT_TRUE(queue.Push({.fds = MakeFiles(1)}));
  EXPECT_TRUE(queue.Push({.fds = MakeFiles(2)}));
  EXPECT_TRUE(queue.full());
  EXPECT_FALSE(queue.Push({.fds = MakeFiles(1)}));
  EXPECT_TRUE(absl::IsInvalidArgument(queue.Take(2, 2).status()));
  EXPECT_EQ(queue.Take(1, 1)->size(), 1u);
  EXPECT_TRUE(absl::IsInvalidArgument(queue.Take(1, 1).status())) << "twice";
  EXPECT_EQ(queue.Take(2, 2)->size(), 2u);
  EXPECT_TRUE(queue.Push({.fds = {}, .lost = true}));
  EXPECT_TRUE(absl::IsResourceExhausted(queue.Take(3, 1).status()));
  EXPECT_TRUE(queue.Push({.fds = MakeFiles(1)}));
  queue.Clear();
  EXPECT_TRUE(queue.Push({.fds = MakeFiles(1)}));
  EXPECT_EQ(queue.Take(5, 1)->size(), 1u);
}

TEST(FdQueueTest, NumbersNeverBecomeNone) {
  EXPECT_EQ(ParcelAfter(0), 1u);
  EXPECT_EQ(ParcelAfter(0xffff'ffff), 1u);
}

}  // namespace
}  // namespace ipcrpc
