#include "transport/testing/meeting_place.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

#include "transport/base/strings.h"

namespace ipcrpc {

MeetingPlace::MeetingPlace(std::string_view address) {
  if (address == "socketpair:") {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) std::abort();
    server_ = {Cat(address, ends[0]), {ends[0]}};
    client_ = {Cat(address, ends[1]), {ends[1]}};
  } else if (address == "pipe:") {
    int there[2], back[2];
    if (pipe2(there, O_CLOEXEC) != 0 || pipe2(back, O_CLOEXEC) != 0) std::abort();
    server_ = {Cat(address, there[0], ",", back[1]), {there[0], back[1]}};
    client_ = {Cat(address, back[0], ",", there[1]), {back[0], there[1]}};
  } else {
    server_.address = client_.address = address;
  }
}

MeetingPlace::~MeetingPlace() {
  server_.Close();
  client_.Close();
}

void MeetingPlace::End::Close() {
  for (const int fd : descriptors) close(fd);
  descriptors.clear();
}

}  // namespace ipcrpc
