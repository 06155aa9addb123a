// fixture_publisher PLACE: publishes an EchoResponse for each line of standard input ("TEXT", red), and says
// "published" each time. At the end of input it stops as a daemon does.
#include <iostream>
#include <string>

#include "ipcrpc/snapshot.h"
#include "tools/ipcrpc/testing/fixture.pb.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  ipcrpc::SnapshotPublisher<fixture::v1::EchoResponse> publisher(argv[1]);
  for (std::string line; std::getline(std::cin, line);) {
    fixture::v1::EchoResponse message;
    message.set_text(line);
    message.set_colour(fixture::v1::COLOUR_RED);
    message.mutable_nested()->set_zero(0);
    const ipcrpc::Status status = publisher.Publish(message);
    if (!status.ok()) {
      std::cout << status.error_message() << std::endl;
      return 1;
    }
    std::cout << "published" << std::endl;
  }
}
