#include "transport/sysvmq/queue.h"

#include <sys/ipc.h>
#include <sys/msg.h>

#include <cerrno>

#include "gtest/gtest.h"

namespace ipcrpc::sysvmq {
namespace {

class ReaderTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_GE(queue_, 0); }
  ~ReaderTest() override { Remove(queue_); }

  // What is there but for kicks, which may be left of a Disarm().
  static ssize_t ReceiveNoKick(Reader& reader, Message& message) {
    ssize_t got = reader.Receive(message);
    while (got == 0 && message.type == kKick) got = reader.Receive(message);
    return got;
  }
  static bool ArmedOnceEmpty(Reader& reader, Message& message) {
    while (!reader.Arm()) {
      if (ReceiveNoKick(reader, message) >= 0) return false;
    }
    return true;
  }

  const int queue_ = msgget(IPC_PRIVATE, 0600);
  Message message_;
};

// A peer that says something and goes: who hears that it has gone looks once more, and must find it, wherever it is by then.
TEST_F(ReaderTest, HasAfterDisarmWhatWasSentBefore) {
  Reader reader(queue_);
  const std::byte sent[] = {std::byte{7}};
  for (int i = 0; i < 2000; ++i) {
    ASSERT_TRUE(ArmedOnceEmpty(reader, message_));
    ASSERT_EQ(Send(queue_, kData, sent, sizeof sent), 0);
    reader.Disarm();
    ASSERT_EQ(ReceiveNoKick(reader, message_), 1) << i << ", errno " << errno;
    ASSERT_EQ(message_.bytes[0], sent[0]);
  }
}

TEST_F(ReaderTest, GivesAnEmptyQueueBack) {
  Reader reader(queue_);
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(ArmedOnceEmpty(reader, message_));
    ASSERT_EQ(reader.Receive(message_), -1);
    ASSERT_EQ(errno, EAGAIN) << "the thread has the queue";
    reader.Disarm();
    ASSERT_EQ(ReceiveNoKick(reader, message_), -1);
    ASSERT_EQ(errno, EAGAIN);
  }
}

}  // namespace
}  // namespace ipcrpc::sysvmq
