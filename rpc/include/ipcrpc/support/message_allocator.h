// Where the messages of a unary callback method come from, for services that want to say.
#pragma once

namespace ipcrpc {

// What an allocator keeps for one call: CallbackServerContext::GetRpcAllocatorState().
class RpcAllocatorState {
 public:
  virtual ~RpcAllocatorState() = default;
  // Gives the request back early, if the allocator can do that. By the handler, which must not use the request after.
  virtual void FreeRequest() {}
};

// The messages of one call.
template <typename Request, typename Response>
class MessageHolder : public RpcAllocatorState {
 public:
  // The call is over. Called once; usually it deletes the holder.
  virtual void Release() = 0;
  Request* request() { return request_; }
  Response* response() { return response_; }

 protected:
  // To be set by the derived class.
  void set_request(Request* request) { request_ = request; }
  void set_response(Response* response) { response_ = response; }

 private:
  Request* request_ = nullptr;
  Response* response_ = nullptr;
};

// Thread-safe; must outlive the server it is set for.
template <typename Request, typename Response>
class MessageAllocator {
 public:
  virtual ~MessageAllocator() = default;
  // Once for each call.
  virtual MessageHolder<Request, Response>* AllocateMessages() = 0;
};

}  // namespace ipcrpc
