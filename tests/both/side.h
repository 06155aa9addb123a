// One of the two libraries in this program: a server with all it offers by itself, and clients. side.cc is compiled twice, as it
// is for gRPC, and for ipcrpc by tools/from-grpc.sed alone.
#pragma once

#include <memory>
#include <string>
#include <typeinfo>
#include <vector>

namespace both {

class Side {
 public:
  virtual ~Side() = default;

  // The server answers with its name before what was said, and has the health service or not.
  virtual bool Serve(const std::string& address, const std::string& name, bool health) = 0;
  virtual void Connect(const std::string& address) = 0;

  // Of the server connected to; empty when the call fails.
  virtual std::string Say(const std::string& text) = 0;
  virtual std::vector<std::string> SayMany(const std::vector<std::string>& texts) = 0;
  // By reflection.
  virtual std::vector<std::string> Services() = 0;
  virtual std::vector<std::string> FilesWith(const std::string& symbol) = 0;

  // What the server says of a service from now on.
  virtual void SetServing(const std::string& service, bool serving) = 0;
  // By the health service: "SERVING", "NOT_SERVING", and "NOT_FOUND" or "UNIMPLEMENTED" where the call ends so.
  virtual std::string Check(const std::string& service) = 0;
  // By its stream, one for each side: what comes next, and whether it was cancelled in the end.
  virtual void Watch(const std::string& service) = 0;
  virtual std::string NextWatched() = 0;
  virtual bool StopWatching() = 0;

  virtual const std::type_info& service_type() const = 0;
};

namespace grpc_side {
std::unique_ptr<Side> Make();
}
namespace ipcrpc_side {
std::unique_ptr<Side> Make();
}

}  // namespace both
