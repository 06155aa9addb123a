@0xc1a4e5d27f30b96e;
# The echo as Cap'n Proto has it.

struct Message {
  id @0 :UInt64;
  payload @1 :Data;
}

interface EchoService {
  unary @0 (request :Message) -> (response :Message);
}
