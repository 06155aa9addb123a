// Where the two ends of a link under test find each other: at one name, or on a pair of descriptors that each
// end inherits, or where the one starts the other.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ipcrpc {

class MeetingPlace {
 public:
  // "socketpair:" and "pipe:": descriptors, close-on-exec, made for it. Anything else is taken as it is.
  explicit MeetingPlace(std::string_view address);
  ~MeetingPlace();
  MeetingPlace(const MeetingPlace&) = delete;
  MeetingPlace& operator=(const MeetingPlace&) = delete;

  // One end each. Both may be the same name.
  const std::string& server() const { return server_.address; }
  const std::string& client() const { return client_.address; }
  const std::vector<int>& server_descriptors() const { return server_.descriptors; }
  const std::vector<int>& client_descriptors() const { return client_.descriptors; }

  // Once another process has inherited them: as long as this one has them, too, nobody sees that one's end.
  void ForgetServer() { server_.Close(); }
  void ForgetClient() { client_.Close(); }

 private:
  struct End {
    std::string address;
    std::vector<int> descriptors;
    void Close();
  };
  End server_, client_;
};

}  // namespace ipcrpc
