// The echo as Thrift has it.
struct Message {
  1: i64 id,
  2: binary payload,
}

service EchoService {
  Message unary(1: Message request),
}
