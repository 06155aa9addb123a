// kitchen_client [ADDRESS]: asks for two estimates at once, then orders, and eats what comes.
#include <ipcrpc/coroutine.h>
#include <ipcrpc/ipcrpc.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "kitchen.ipcrpc.pb.h"

using ipcrpc::ClientContext;
using ipcrpc::Status;
using ipcrpc::Task;

namespace {

void Patience(ClientContext* context) {
  context->set_wait_for_ready(true);
  context->set_deadline(std::chrono::steady_clock::now() + std::chrono::seconds(5));
}

Task<int> Minutes(kitchen::Kitchen::Stub* stub, std::string name) {
  ClientContext context;
  Patience(&context);
  kitchen::Dish dish;
  dish.set_name(name);
  kitchen::Time time;
  const Status status = co_await stub->co()->Estimate(&context, dish, &time);
  co_return status.ok() ? time.minutes() : -1;
}

Task<Status> Eat(kitchen::Kitchen::Stub* stub, std::vector<std::string> names) {
  ClientContext context;
  Patience(&context);
  auto table = stub->co()->Cook(&context);
  kitchen::Dish dish;
  kitchen::Plate plate;
  for (const std::string& name : names) {
    dish.set_name(name);
    if (!co_await table.Write(dish)) break;
    if (!co_await table.Read(&plate)) break;
    std::printf("%d. %s\n", plate.number(), plate.dish().c_str());
  }
  co_await table.WritesDone();
  co_return co_await table.Finish();
}

Task<int> Evening(kitchen::Kitchen::Stub* stub) {
  const auto [soup, risotto] = co_await ipcrpc::WhenAll(Minutes(stub, "soup"), Minutes(stub, "risotto"));
  std::printf("soup in %d minutes, risotto in %d\n", soup, risotto);
  std::vector<std::string> menu = {"soup", "risotto"};
  const Status dinner = co_await Eat(stub, menu);
  std::printf("dinner: %s\n", dinner.ok() ? "good" : dinner.error_message().c_str());
  menu.back() = "fugu";
  const Status dare = co_await Eat(stub, menu);
  std::printf("dare: %s\n", dare.ok() ? "good" : dare.error_message().c_str());
  co_return dinner.ok() && soup > 0 && risotto > 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const auto stub = kitchen::Kitchen::NewStub(ipcrpc::CreateChannel(argc > 1 ? argv[1] : "shm:kitchen"));
  return ipcrpc::SyncWait(Evening(stub.get()));
}
