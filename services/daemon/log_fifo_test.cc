// The log FIFO, with real ones and their readers; and a daemon that has one.
#include "services/daemon/log_fifo.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

#include "services/daemon/manager_for_test.h"

namespace ipcrpc::hosting {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Optional;
using Lines = std::vector<std::string>;

constexpr std::string_view kTimeShape = "0000-00-00T00:00:00.000Z";
constexpr size_t kTimeSize = kTimeShape.size();

// With 0 for each digit.
std::string ShapeOf(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }, '0');
  return text;
}

// One that comes, reads, and goes when it goes.
class Reader {
 public:
  explicit Reader(const std::string& path) : fd_(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)) {}

  // What waits there, at most this much.
  std::string Bytes(size_t most = SIZE_MAX) const {
    std::string all;
    char part[4096];
    while (all.size() < most) {
      const ssize_t got = read(fd_.get(), part, std::min(sizeof part, most - all.size()));
      if (got <= 0) break;
      all.append(part, static_cast<size_t>(got));
    }
    return all;
  }
  // The same as lines, without their times, which have to be there.
  Lines Read() const {
    Lines lines;
    const std::string all = Bytes();
    EXPECT_TRUE(all.empty() || all.back() == '\n') << "half a line";
    std::istringstream text(all);
    for (std::string line; std::getline(text, line);) {
      EXPECT_EQ(ShapeOf(line.substr(0, kTimeSize)), kTimeShape);
      lines.push_back(line.substr(std::min(line.size(), kTimeSize + 1)));
    }
    return lines;
  }

 private:
  const UniqueFd fd_;
};

// Leaves no room for a byte. The filler is lines of other writers.
void Fill(const std::string& path) {
  const UniqueFd other(open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  const std::string filler(PIPE_BUF, '\n');
  for (size_t size : {filler.size(), size_t{1}}) {
    while (write(other.get(), filler.data(), size) > 0) {
    }
  }
}

class LogFifoTest : public testing::Test {
 protected:
  LogFifoTest() { signal(SIGPIPE, SIG_DFL); }

  std::string Path() const { return directory_.path() + "/log"; }
  bool Exists() const {
    struct stat info;
    return lstat(Path().c_str(), &info) == 0;
  }
  void Say(const std::string& text) { fifo_.Write(LogSeverity::kInfo, text); }

  TempRuntimeDir directory_;
  LogFifo fifo_;
};

TEST_F(LogFifoTest, HasALineOfEach) {
  ASSERT_TRUE(fifo_.Open(Path(), "testd").ok());
  const Reader reader(Path());
  fifo_.Write(LogSeverity::kInfo, "listening");
  fifo_.Write(LogSeverity::kWarning, "");
  fifo_.Write(LogSeverity::kError, "caf\xC3\xA9");
  EXPECT_THAT(reader.Read(),
              ElementsAre("testd info: listening", "testd warning: ", "testd error: caf\xC3\xA9"));
}

TEST_F(LogFifoTest, IsMadeForUserAndGroupAndRemoved) {
  const mode_t mask = umask(0);
  ASSERT_TRUE(fifo_.Open(Path(), "testd").ok());
  umask(mask);
  struct stat info;
  ASSERT_EQ(lstat(Path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode, S_IFIFO | 0640u);
  fifo_.Close();
  EXPECT_FALSE(Exists());
  Say("nobody hears this");
}

TEST_F(LogFifoTest, LeavesWhatOthersMade) {
  mkfifo(Path().c_str(), 0600);
  ASSERT_TRUE(fifo_.Open(Path(), "testd").ok());
  fifo_.Close();
  EXPECT_TRUE(Exists());
}

TEST_F(LogFifoTest, LeavesWhatTookThePlaceOfItsOwn) {
  ASSERT_TRUE(fifo_.Open(Path(), "testd").ok());
  unlink(Path().c_str());
  mkfifo(Path().c_str(), 0600);
  fifo_.Close();
  EXPECT_TRUE(Exists());
}

TEST_F(LogFifoTest, LeavesTheFileThatASuccessorUses) {
  ASSERT_TRUE(fifo_.Open(Path(), "testd").ok());
  fifo_.KeepFile();
  fifo_.Close();
  EXPECT_TRUE(Exists());
}

TEST_F(LogFifoTest, RefusesWhatIsNoFifo) {
  std::ofstream(Path()) << "precious";
  const Status file = fifo_.Open(Path(), "testd");
  EXPECT_EQ(file.error_code(), StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(file.error_message(), "log FIFO " + Path() + ": what is there is no FIFO");
  Say("goes nowhere");
  fifo_.Close();
  std::ifstream kept(Path());
  EXPECT_EQ((std::string{std::istreambuf_iterator<char>(kept), {}}), "precious");

  // Nor is a link followed, which may be anybody's.
  const std::string link = directory_.path() + "/link";
  const std::string target = directory_.path() + "/target";
  mkfifo(target.c_str(), 0600);
  ASSERT_EQ(symlink(target.c_str(), link.c_str()), 0);
  EXPECT_EQ(fifo_.Open(link, "testd").error_code(), StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(fifo_.Open(directory_.path() + "/none/log", "testd").error_message(),
              EndsWith("none/log: cannot make it: No such file or directory"));
}

TEST_F(LogFifoTest, RefusesAnotherUsersFifo) {
  mkfifo(Path().c_str(), 0666);
  if (chown(Path().c_str(), 65534, static_cast<gid_t>(-1)) != 0) GTEST_SKIP() << "takes CAP_CHOWN";
  const Status status = fifo_.Open(Path(), "testd");
  EXPECT_EQ(status.error_code(), StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("it is of user 65534, not of ours"));
}

TEST_F(LogFifoTest, KeepsLinesForAReaderThatComesLater) {
  ASSERT_TRUE(fifo_.Open(Path(), "testd").ok());
  Say("1");
  Say("2");
  EXPECT_THAT(Reader(Path()).Read(), ElementsAre("testd info: 1", "testd info: 2"));
  Say("3");
  Say("4");
  EXPECT_THAT(Reader(Path()).Read(), ElementsAre("testd info: 3", "testd info: 4"));
}

TEST_F(LogFifoTest, CountsWhatHasNoRoomAndSaysSoWhereItIsMissing) {
  ASSERT_TRUE(fifo_.Open(Path(), "testd").ok());
  constexpr int kLines = 3000;
  const std::string ending(50, '.');
  for (int i = 0; i < kLines; ++i) Say(std::to_string(i) + ending);
  const Reader reader(Path());
  const Lines kept = reader.Read();
  ASSERT_GT(kept.size(), 10u);
  ASSERT_LT(kept.size(), size_t{kLines});
  for (size_t i = 0; i < kept.size(); ++i) EXPECT_EQ(kept[i], "testd info: " + std::to_string(i) + ending);
  Say("there is room");
  EXPECT_THAT(reader.Read(), ElementsAre("testd warning: " + std::to_string(kLines - kept.size()) +
                                             " lines were dropped here",
                                         "testd info: there is room"));
  Say("and all is said");
  EXPECT_THAT(reader.Read(), ElementsAre("testd info: and all is said"));
}

TEST_F(LogFifoTest, CountsOneAndTellsItAtTheEndAtTheLatest) {
  ASSERT_TRUE(fifo_.Open(Path(), "testd").ok());
  Fill(Path());
  Say("lost");
  const Reader reader(Path());
  reader.Bytes();
  fifo_.Close();
  EXPECT_THAT(reader.Read(), ElementsAre("testd warning: 1 line was dropped here"));
}

// All that was said, in order: the number of each line, or how many are missing there.
TEST_F(LogFifoTest, LosesNothingUncountedToSlowReadersThatComeAndGo) {
  ASSERT_TRUE(fifo_.Open(Path(), "testd").ok());
  constexpr int kRounds = 400, kBurst = 100;
  const std::string ending(200, '.');
  std::string all;
  int said = 0;
  for (int round = 0; round < kRounds; ++round) {
    for (int i = 0; i < kBurst; ++i) Say(std::to_string(said++) + ending);
    // Each takes less than came, and no whole number of lines.
    all += Reader(Path()).Bytes(7777);
  }
  all += Reader(Path()).Bytes();
  fifo_.Write(LogSeverity::kInfo, std::to_string(said++));
  EXPECT_THAT(all, EndsWith("\n"));

  std::istringstream text(all);
  int next = 0, gaps = 0;
  for (std::string line; std::getline(text, line);) {
    ASSERT_EQ(ShapeOf(line.substr(0, kTimeSize)), kTimeShape);
    line.erase(0, kTimeSize);
    int count = 0;
    if (sscanf(line.c_str(), " testd warning: %d line", &count) == 1) {
      next += count;
      ++gaps;
    } else {
      ASSERT_EQ(line, " testd info: " + std::to_string(next) + ending);
      ++next;
    }
  }
  EXPECT_GT(gaps, 10);
  EXPECT_LE(next, said);
}

TEST_F(LogFifoTest, CutsLinesThatCouldNotBeWrittenWhole) {
  ASSERT_TRUE(fifo_.Open(Path(), "testd").ok());
  const Reader reader(Path());
  const size_t start = kTimeSize + std::string(" testd info: ").size();
  const std::string longest(PIPE_BUF - start - 1, 'x');
  Say(longest);
  EXPECT_THAT(reader.Read(), ElementsAre("testd info: " + longest));
  Say(longest + "y");
  const std::string cut = reader.Bytes();
  EXPECT_EQ(cut.size(), size_t{PIPE_BUF});
  EXPECT_THAT(cut, EndsWith("xxx [cut]\n"));
  // Not within a character: one of the two offsets is within.
  for (const std::string& shift : {std::string(), std::string("z")}) {
    std::string accents = shift;
    while (accents.size() < 2 * PIPE_BUF) accents += "\xC3\xA9";
    Say(accents);
    const std::string line = reader.Bytes();
    EXPECT_LE(line.size(), size_t{PIPE_BUF});
    EXPECT_GE(line.size(), size_t{PIPE_BUF} - 1);
    EXPECT_THAT(line, EndsWith("\xC3\xA9 [cut]\n"));
  }
}

TEST_F(LogFifoTest, HasWholeLinesOfManyThreads) {
  ASSERT_TRUE(fifo_.Open(Path(), "testd").ok());
  constexpr int kThreads = 8, kLines = 2000;
  const Reader reader(Path());
  std::vector<std::jthread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kLines; ++i)
        Say(std::to_string(t) + " " + std::to_string(i) + " " + std::string(i % 300, '.'));
    });
  }
  std::atomic<bool> ended{false};
  std::jthread end([&] {
    threads.clear();
    ended = true;
  });
  std::map<int, int> last;
  int lines = 0, dropped = 0;
  const auto take = [&] {
    for (const std::string& line : reader.Read()) {
      int t = 0, i = 0, count = 0;
      char dots[400] = "";
      if (sscanf(line.c_str(), "testd warning: %d line", &count) == 1) {
        dropped += count;
        continue;
      }
      ASSERT_GE(sscanf(line.c_str(), "testd info: %d %d %399[.]", &t, &i, dots), 2) << line;
      ASSERT_EQ(line, "testd info: " + std::to_string(t) + " " + std::to_string(i) + " " +
                          std::string(i % 300, '.'));
      ASSERT_GT(i, last.try_emplace(t, -1).first->second) << "of thread " << t;
      last[t] = i;
      ++lines;
    }
  };
  while (!ended) take();
  take();
  fifo_.Close();
  take();
  EXPECT_EQ(lines + dropped, kThreads * kLines);
}

// ---- a daemon with one -----------------------------------------------------------------------

class DaemonLogFifoTest : public testing::Test {
 protected:
  Manager manager_;
  const std::string path_ = manager_.Path("log");
};

TEST_F(DaemonLogFifoTest, HasWhatStandardErrorHas) {
  auto daemon = manager_.Start({"--log-fifo", path_, "unix:sensor"});
  manager_.Await("READY");
  EXPECT_EQ(CallBytes("unix:sensor", "/test/Say", "too hot\nby far").text, "too hot\nby far");
  const Reader reader(path_);
  EXPECT_THAT(reader.Read(), ElementsAre("testd info: listening on unix:sensor", "testd warning: too hot",
                                         "testd warning: by far"));
  EXPECT_EQ(daemon->Said(), "testd: listening on unix:sensor\ntestd: too hot\ntestd: by far\n");
  daemon->Signal(SIGTERM);
  EXPECT_THAT(daemon->Wait(), Optional(0));
  EXPECT_TRUE(manager_.directory().empty()) << "something is left behind";
}

TEST_F(DaemonLogFifoTest, AnswersWhileItIsFull) {
  auto daemon = manager_.Start({"--log-fifo", path_, "unix:sensor"});
  manager_.Await("READY");
  Fill(path_);
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(CallBytes("unix:sensor", "/test/Say", "line " + std::to_string(i)).text,
              "line " + std::to_string(i));
  }
  EXPECT_THAT(daemon->Said(), HasSubstr("testd: line 19\n")) << "there it is all the same";
  const Reader reader(path_);
  reader.Bytes();
  EXPECT_EQ(CallBytes("unix:sensor", "/test/Say", "cooler").text, "cooler");
  EXPECT_THAT(reader.Read(),
              ElementsAre("testd warning: 20 lines were dropped here", "testd warning: cooler"));
}

TEST_F(DaemonLogFifoTest, DoesNotStartWithWhatIsNoFifo) {
  std::ofstream(path_) << "precious";
  auto daemon = manager_.Start({"--log-fifo", path_, "unix:sensor"});
  EXPECT_THAT(daemon->Wait(), Optional(1));
  EXPECT_EQ(daemon->Said(), "testd: cannot start: log FIFO " + path_ + ": what is there is no FIFO\n");
}

TEST_F(DaemonLogFifoTest, GoesOnToASuccessor) {
  auto first = manager_.Start({"--log-fifo", path_, "--take-over", "unix:sensor"});
  manager_.Await("READY");
  auto second = manager_.Start({"--log-fifo", path_, "--take-over", "unix:sensor"});
  manager_.Await("READY");
  EXPECT_THAT(first->Wait(), Optional(0));
  const Reader reader(path_);
  reader.Bytes();
  CallBytes("unix:sensor", "/test/Say", "by the second");
  EXPECT_THAT(reader.Read(), ElementsAre("testd warning: by the second"));
}

}  // namespace
}  // namespace ipcrpc::hosting
