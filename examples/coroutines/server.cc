// kitchen_server [ADDRESS]: a kitchen whose handlers are coroutines; serves until it is killed.
#include <ipcrpc/coroutine.h>
#include <ipcrpc/ipcrpc.h>

#include <cstdio>

#include "kitchen.ipcrpc.pb.h"

using ipcrpc::CallbackServerContext;
using ipcrpc::Status;
using ipcrpc::StatusCode;
using ipcrpc::Task;

class Kitchen final : public kitchen::Kitchen::CoroutineService {
  Task<Status> Estimate(CallbackServerContext*, const kitchen::Dish* dish, kitchen::Time* time) override {
    if (dish->name().empty()) co_return Status(StatusCode::INVALID_ARGUMENT, "which dish?");
    time->set_minutes(static_cast<int>(dish->name().size()));
    co_return Status::OK;
  }

  // No thread waits for the table to make up its mind.
  Task<Status> Cook(CallbackServerContext*, ipcrpc::co::ServerReaderWriter<kitchen::Plate, kitchen::Dish>* table) override {
    kitchen::Dish dish;
    kitchen::Plate plate;
    for (int number = 1; co_await table->Read(&dish); ++number) {
      if (dish.name() == "fugu") co_return Status(StatusCode::PERMISSION_DENIED, "the cook has no licence");
      plate.set_dish(dish.name());
      plate.set_number(number);
      if (!co_await table->Write(plate)) break;  // the table has left
    }
    co_return Status::OK;
  }
};

int main(int argc, char** argv) {
  Kitchen kitchen;
  ipcrpc::ServerBuilder builder;
  builder.AddListeningPort(argc > 1 ? argv[1] : "shm:kitchen").RegisterService(&kitchen);
  auto server = builder.BuildAndStart();
  if (server == nullptr) {
    std::fprintf(stderr, "kitchen_server: %s\n", builder.error().c_str());
    return 1;
  }
  server->Wait();
}
