// A server in the shape of gRPC's tutorial, synchronous, for both libraries: see swap_test.sh.
#include <grpcpp/grpcpp.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_context.h>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "route_guide.grpc.pb.h"

using grpc::Server;
using grpc::ServerBuilder;
using grpc::ServerContext;
using grpc::ServerReader;
using grpc::ServerReaderWriter;
using grpc::ServerWriter;
using grpc::Status;
using routeguide::Feature;
using routeguide::Point;
using routeguide::Rectangle;
using routeguide::RouteGuide;
using routeguide::RouteNote;
using routeguide::RouteSummary;

namespace {

bool Same(const Point& a, const Point& b) { return a.latitude() == b.latitude() && a.longitude() == b.longitude(); }

bool Inside(const Point& point, const Rectangle& area) {
  return point.latitude() >= area.low().latitude() && point.latitude() <= area.high().latitude() &&
         point.longitude() >= area.low().longitude() && point.longitude() <= area.high().longitude();
}

Feature MakeFeature(const char* name, int latitude, int longitude) {
  Feature feature;
  feature.set_name(name);
  feature.mutable_location()->set_latitude(latitude);
  feature.mutable_location()->set_longitude(longitude);
  return feature;
}

}  // namespace

class RouteGuideImpl final : public RouteGuide::Service {
 public:
  Status GetFeature(ServerContext* /*context*/, const Point* point, Feature* feature) override {
    *feature->mutable_location() = *point;
    if (const Feature* found = Find(*point)) feature->set_name(found->name());
    return Status::OK;
  }

  Status ListFeatures(ServerContext* /*context*/, const Rectangle* area, ServerWriter<Feature>* writer) override {
    if (area->low().latitude() > area->high().latitude()) {
      return Status(grpc::StatusCode::INVALID_ARGUMENT, "the corners are the wrong way round");
    }
    for (const Feature& feature : features_) {
      if (Inside(feature.location(), *area) && !writer->Write(feature)) break;
    }
    return Status::OK;
  }

  Status RecordRoute(ServerContext* context, ServerReader<Point>* reader, RouteSummary* summary) override {
    Point point, previous;
    while (reader->Read(&point)) {
      if (summary->points() > 0) {
        summary->set_length(summary->length() + std::abs(point.latitude() - previous.latitude()) +
                            std::abs(point.longitude() - previous.longitude()));
      }
      summary->set_points(summary->points() + 1);
      if (Find(point) != nullptr) summary->set_features(summary->features() + 1);
      previous = point;
    }
    context->AddTrailingMetadata("recorded", std::to_string(summary->points()));
    return Status::OK;
  }

  Status RouteChat(ServerContext* /*context*/, ServerReaderWriter<RouteNote, RouteNote>* stream) override {
    RouteNote note;
    while (stream->Read(&note)) {
      std::unique_lock<std::mutex> lock(mu_);
      for (const RouteNote& earlier : notes_) {
        if (Same(earlier.location(), note.location())) stream->Write(earlier);
      }
      notes_.push_back(note);
    }
    return Status::OK;
  }

 private:
  const Feature* Find(const Point& point) const {
    for (const Feature& feature : features_) {
      if (Same(feature.location(), point)) return &feature;
    }
    return nullptr;
  }

  const std::vector<Feature> features_ = {MakeFeature("Mill", 10, 10), MakeFeature("Bridge", 20, 15), MakeFeature("Tower", 90, 90)};
  std::mutex mu_;
  std::vector<RouteNote> notes_;
};

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  RouteGuideImpl service;
  ServerBuilder builder;
  builder.AddListeningPort(argv[1], grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  std::unique_ptr<Server> server(builder.BuildAndStart());
  if (server == nullptr) return 1;
  std::cerr << "serving on " << argv[1] << std::endl;
  server->Wait();
}
