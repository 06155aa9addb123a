// A client in the shape of gRPC's tutorial, synchronous, for both libraries: see swap_test.sh.
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/security/credentials.h>

#include <chrono>
#include <iostream>
#include <memory>
#include <string>
#include <thread>

#include "route_guide.grpc.pb.h"

using grpc::Channel;
using grpc::ClientContext;
using grpc::ClientReader;
using grpc::ClientReaderWriter;
using grpc::ClientWriter;
using grpc::Status;
using routeguide::Feature;
using routeguide::Point;
using routeguide::Rectangle;
using routeguide::RouteGuide;
using routeguide::RouteNote;
using routeguide::RouteSummary;

namespace {

Point At(int latitude, int longitude) {
  Point point;
  point.set_latitude(latitude);
  point.set_longitude(longitude);
  return point;
}

RouteNote Note(const std::string& text, int latitude, int longitude) {
  RouteNote note;
  note.set_text(text);
  *note.mutable_location() = At(latitude, longitude);
  return note;
}

}  // namespace

class RouteGuideClient {
 public:
  explicit RouteGuideClient(std::shared_ptr<Channel> channel) : stub_(RouteGuide::NewStub(channel)) {}

  void GetFeature(const Point& point) {
    ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    Feature feature;
    Status status = stub_->GetFeature(&context, point, &feature);
    if (!status.ok()) {
      std::cout << status.error_message() << std::endl;
    } else {
      std::cout << (feature.name().empty() ? "nothing" : feature.name()) << " at " << point.latitude() << "," << point.longitude() << std::endl;
    }
  }

  void ListFeatures(const Point& low, const Point& high) {
    ClientContext context;
    Rectangle area;
    *area.mutable_low() = low;
    *area.mutable_high() = high;
    std::unique_ptr<ClientReader<Feature>> reader(stub_->ListFeatures(&context, area));
    Feature feature;
    while (reader->Read(&feature)) std::cout << "found " << feature.name() << std::endl;
    Status status = reader->Finish();
    if (!status.ok()) std::cout << status.error_code() << ": " << status.error_message() << std::endl;
  }

  void RecordRoute() {
    ClientContext context;
    RouteSummary summary;
    std::unique_ptr<ClientWriter<Point>> writer(stub_->RecordRoute(&context, &summary));
    for (const Point& point : {At(0, 0), At(10, 10), At(20, 15), At(20, 20)}) {
      if (!writer->Write(point)) break;
    }
    writer->WritesDone();
    Status status = writer->Finish();
    if (!status.ok()) return;
    std::cout << summary.points() << " points, " << summary.features() << " features, " << summary.length() << " long, recorded ";
    auto recorded = context.GetServerTrailingMetadata().find("recorded");
    if (recorded != context.GetServerTrailingMetadata().end()) std::cout << std::string(recorded->second.data(), recorded->second.length());
    std::cout << std::endl;
  }

  void RouteChat() {
    ClientContext context;
    std::shared_ptr<ClientReaderWriter<RouteNote, RouteNote>> stream(stub_->RouteChat(&context));
    std::thread writer([stream]() {
      for (const RouteNote& note : {Note("first", 1, 1), Note("second", 2, 2), Note("third", 1, 1), Note("fourth", 1, 1)}) stream->Write(note);
      stream->WritesDone();
    });
    RouteNote note;
    while (stream->Read(&note)) std::cout << "heard " << note.text() << std::endl;
    writer.join();
    Status status = stream->Finish();
    std::cout << (status.ok() ? "fine" : status.error_message()) << std::endl;
  }

 private:
  std::unique_ptr<RouteGuide::Stub> stub_;
};

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  RouteGuideClient guide(grpc::CreateChannel(argv[1], grpc::InsecureChannelCredentials()));
  guide.GetFeature(At(10, 10));
  guide.GetFeature(At(11, 11));
  guide.ListFeatures(At(0, 0), At(50, 50));
  guide.ListFeatures(At(50, 50), At(0, 0));
  guide.RecordRoute();
  guide.RouteChat();
}
