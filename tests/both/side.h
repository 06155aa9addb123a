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

  // The server answers with its name before what was said.
  virtual bool Serve(const std::string& address, const std::string& name) = 0;
  virtual void Connect(const std::string& address) = 0;

  // Of the server connected to; empty when the call fails.
  virtual std::string Say(const std::string& text) = 0;
  virtual std::vector<std::string> SayMany(const std::vector<std::string>& texts) = 0;
  // By reflection.
  virtual std::vector<std::string> Services() = 0;
  virtual std::vector<std::string> FilesWith(const std::string& symbol) = 0;
  // By the health service; false as well when there is none.
  virtual bool Serving() = 0;
  virtual bool offers_health() const = 0;

  virtual const std::type_info& service_type() const = 0;
};

namespace grpc_side {
std::unique_ptr<Side> Make();
}
namespace ipcrpc_side {
std::unique_ptr<Side> Make();
}

}  // namespace both
