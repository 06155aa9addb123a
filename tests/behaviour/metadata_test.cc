// Metadata both ways, and its limits.
#include "tests/behaviour/fixture.h"

namespace behaviour {
namespace {

using ::testing::ElementsAre;

class Metadata : public BehaviourTest {};

std::vector<std::string> Values(const std::multimap<ipcrpc::string_ref, ipcrpc::string_ref>& metadata, const std::string& key) {
  std::vector<std::string> values;
  for (auto [it, end] = metadata.equal_range(key); it != end; ++it) values.emplace_back(it->second);
  return values;
}

const std::string kBinary = [] {
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  return all;
}();

TEST_P(Metadata, TravelsBothWaysWithOrderAndAllBytes) {
  Start();
  std::vector<std::string> ascii, binary, empty;
  service_.unary = [&](ServerContext* context, const Msg*, Msg*) {
    ascii = Values(context->client_metadata(), "x-many");
    binary = Values(context->client_metadata(), "x-any-bin");
    empty = Values(context->client_metadata(), "x_.-0");
    context->AddInitialMetadata("first", "1");
    context->AddInitialMetadata("first", "2");
    context->AddInitialMetadata("first-bin", kBinary);
    context->AddTrailingMetadata("last", " three ");
    context->AddTrailingMetadata("last", "");
    context->AddTrailingMetadata("last-bin", "");
    return Status(StatusCode::NOT_FOUND, "with metadata all the same");
  };
  ClientContext context;
  context.AddMetadata("x-many", "b");
  context.AddMetadata("x-many", "a");
  context.AddMetadata("x-many", "b");
  context.AddMetadata("x-any-bin", kBinary);
  context.AddMetadata("x_.-0", "");
  Msg response;
  EXPECT_EQ(stub_->Unary(&context, Msg(), &response).error_code(), StatusCode::NOT_FOUND);
  EXPECT_THAT(ascii, ElementsAre("b", "a", "b"));
  EXPECT_THAT(binary, ElementsAre(kBinary));
  EXPECT_THAT(empty, ElementsAre(""));
  // They stay valid without stub, channel and server.
  stub_.reset();
  channel_.reset();
  StopServer();
  EXPECT_THAT(Values(context.GetServerInitialMetadata(), "first"), ElementsAre("1", "2"));
  EXPECT_THAT(Values(context.GetServerInitialMetadata(), "first-bin"), ElementsAre(kBinary));
  EXPECT_THAT(Values(context.GetServerTrailingMetadata(), "last"), ElementsAre(" three ", ""));
  EXPECT_THAT(Values(context.GetServerTrailingMetadata(), "last-bin"), ElementsAre(""));
  StopServer();
}

TEST_P(Metadata, ComesWithLargeResponsesAndInFullMeasure) {
  Start();
  size_t answer = 0;
  const std::string bulk(3500, 'v');
  service_.unary = [&](ServerContext* context, const Msg*, Msg* response) {
    for (const char* key : {"a", "b"}) {
      context->AddInitialMetadata(key, bulk);
      context->AddTrailingMetadata(key, bulk);
    }
    *response = Data(answer);
    return Status::OK;
  };
  for (const size_t bytes : {0, 10'000, 100'000, 3'000'000}) {
    answer = bytes;
    ClientContext context;
    Msg response;
    const Status status = stub_->Unary(&context, Msg(), &response);
    ASSERT_TRUE(status.ok()) << bytes << status.error_message();
    EXPECT_EQ(response.data().size(), bytes);
    EXPECT_THAT(Values(context.GetServerInitialMetadata(), "a"), ElementsAre(bulk)) << bytes;
    EXPECT_THAT(Values(context.GetServerTrailingMetadata(), "b"), ElementsAre(bulk)) << bytes;
  }
  // Beside the largest status.
  service_.unary = [&](ServerContext* context, const Msg*, Msg*) {
    for (const char* key : {"a", "b"}) {
      context->AddInitialMetadata(key, bulk);
      context->AddTrailingMetadata(key, bulk);
    }
    return Status(StatusCode::ABORTED, std::string(3000, 'm'), std::string(3000, 'd'));
  };
  ClientContext context;
  Msg response;
  const Status status = stub_->Unary(&context, Msg(), &response);
  EXPECT_EQ(status.error_code(), StatusCode::ABORTED);
  EXPECT_EQ(status.error_message().size(), 3000u);
  EXPECT_EQ(status.error_details().size(), 3000u);
  EXPECT_THAT(Values(context.GetServerInitialMetadata(), "b"), ElementsAre(bulk));
  EXPECT_THAT(Values(context.GetServerTrailingMetadata(), "b"), ElementsAre(bulk));
  StopServer();
}

TEST_P(Metadata, SevenKilobytesReachTheServerInEveryShape) {
  Start();
  const std::string bulk(3500, 'v');
  // All that is printable, nothing, and bytes that are none.
  const std::string printable = "!\"#$%&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~ x";
  std::atomic<int> seen{0};
  const auto look = [&](const ServerContext* context) {
    EXPECT_THAT(Values(context->client_metadata(), "bulk"), ElementsAre(bulk, bulk));
    EXPECT_THAT(Values(context->client_metadata(), "text"), ElementsAre(printable, "", printable));
    EXPECT_THAT(Values(context->client_metadata(), "none-bin"), ElementsAre("", kBinary.substr(0, 1), ""));
    ++seen;
    return Status::OK;
  };
  service_.unary = [&](ServerContext* context, const Msg*, Msg*) { return look(context); };
  service_.collect = [&](ServerContext* context, ServerCollector*, Msg*) { return look(context); };
  service_.emit = [&](ServerContext* context, const Msg*, ServerEmitter*) { return look(context); };
  service_.talk = [&](ServerContext* context, ServerTalk*) { return look(context); };
  ClientContext unary, collect, emit, talk;
  for (ClientContext* context : {&unary, &collect, &emit, &talk}) {
    for (const std::string& value : {bulk, bulk}) context->AddMetadata("bulk", value);
    for (const std::string& value : {printable, std::string(), printable}) context->AddMetadata("text", value);
    for (const std::string& value : {std::string(), kBinary.substr(0, 1), std::string()}) context->AddMetadata("none-bin", value);
  }
  Msg response;
  EXPECT_TRUE(stub_->Unary(&unary, Msg(), &response).ok());
  EXPECT_TRUE(stub_->Collect(&collect, &response)->Finish().ok());
  EXPECT_TRUE(stub_->Emit(&emit, Msg())->Finish().ok());
  EXPECT_TRUE(stub_->Talk(&talk)->Finish().ok());
  StopServer();
  EXPECT_EQ(seen, 4);
}

TEST_P(Metadata, TooMuchOfItExhaustsTheCallAndHarmsNothingElse) {
  Start();
  const std::string bulk(9000, 'v');
  Msg response;
  {
    ClientContext context;
    context.AddMetadata("k", bulk);
    EXPECT_EQ(stub_->Unary(&context, Msg(), &response).error_code(), StatusCode::RESOURCE_EXHAUSTED);
  }
  {
    ClientContext context;
    context.set_authority(std::string(100'000, 'a'));
    EXPECT_EQ(stub_->Unary(&context, Msg(), &response).error_code(), StatusCode::RESOURCE_EXHAUSTED);
  }
  service_.unary = [&](ServerContext* context, const Msg* request, Msg*) {
    if (request->number() == 1) context->AddInitialMetadata("k", bulk);
    if (request->number() == 2) context->AddTrailingMetadata("k", bulk);
    if (request->number() == 3) return Status(StatusCode::ABORTED, std::string(100'000, 'm'));
    return Status::OK;
  };
  for (int i = 1; i <= 3; ++i) {
    ClientContext context;
    EXPECT_EQ(stub_->Unary(&context, Number(i), &response).error_code(), StatusCode::RESOURCE_EXHAUSTED) << i;
  }
  ClientContext context;
  EXPECT_TRUE(stub_->Unary(&context, Number(4), &response).ok());
  StopServer();
}

TEST_P(Metadata, TooMuchOfItInAStreamExhaustsThatStreamAlone) {
  Start();
  const std::string bulk(9000, 'v');
  service_.talk = [&](ServerContext* context, ServerTalk* stream) {
    Msg message;
    while (stream->Read(&message) && message.number() == 0) EXPECT_TRUE(stream->Write(message));
    if (message.number() == 1) {
      context->AddInitialMetadata("k", bulk);
      stream->SendInitialMetadata();
    }
    if (message.number() == 2) context->AddInitialMetadata("k", bulk);
    if (message.number() == 3) context->AddTrailingMetadata("k", bulk);
    if (message.number() != 0) stream->Write(message);
    return Status::OK;
  };
  ClientContext context;
  auto bystander = stub_->Talk(&context);
  Msg message;
  ASSERT_TRUE(bystander->Write(Msg()) && bystander->Read(&message));
  for (int i = 0; i <= 3; ++i) {
    ClientContext too_much;
    if (i == 0) too_much.AddMetadata("k", bulk);
    auto stream = stub_->Talk(&too_much);
    stream->Write(Number(i));
    stream->WritesDone();
    while (stream->Read(&message)) {
    }
    EXPECT_EQ(stream->Finish().error_code(), StatusCode::RESOURCE_EXHAUSTED) << i;
    ASSERT_TRUE(bystander->Write(Msg()) && bystander->Read(&message)) << i;
  }
  EXPECT_TRUE(bystander->WritesDone());
  EXPECT_TRUE(bystander->Finish().ok());
  StopServer();
}

TEST_P(Metadata, KeysAndValuesThatMustNotBeSentFailTheCall) {
  Start();
  for (const auto& [key, value] : std::vector<std::pair<std::string, std::string>>{
           {"Upper", "v"}, {"", "v"}, {"sp ace", "v"}, {"key", "line\nbreak"}, {"key", "\xc3\xa4"}}) {
    ClientContext context;
    context.AddMetadata(key, value);
    Msg response;
    EXPECT_EQ(stub_->Unary(&context, Msg(), &response).error_code(), StatusCode::INTERNAL) << key;
  }
  ExpectAlive();
}

TEST_P(Metadata, InitialMetadataArrivesBeforeTheFirstMessage) {
  Start();
  Event seen;
  service_.talk = [&](ServerContext* context, ServerTalk* stream) {
    context->AddInitialMetadata("early", "yes");
    stream->SendInitialMetadata();
    EXPECT_TRUE(seen.Wait());
    context->AddTrailingMetadata("late", "also");
    stream->Write(Number(1));
    return Status::OK;
  };
  ClientContext context;
  auto stream = stub_->Talk(&context);
  stream->WaitForInitialMetadata();
  EXPECT_THAT(Values(context.GetServerInitialMetadata(), "early"), ElementsAre("yes"));
  seen.Set();
  Msg message;
  EXPECT_TRUE(stream->Read(&message));
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_THAT(Values(context.GetServerTrailingMetadata(), "late"), ElementsAre("also"));
  StopServer();
}

TEST_P(Metadata, InitialMetadataCanBeWaitedForInEveryShape) {
  Start();
  Event seen;
  service_.collect = [&](ServerContext* context, ServerCollector* reader, Msg*) {
    context->AddInitialMetadata("early", "collect");
    reader->SendInitialMetadata();
    EXPECT_TRUE(seen.Wait());
    return Status::OK;
  };
  service_.emit = [&](ServerContext* context, const Msg*, ServerEmitter* writer) {
    context->AddInitialMetadata("early", "emit");
    writer->SendInitialMetadata();
    EXPECT_TRUE(seen.Wait());
    return Status::OK;
  };
  ClientContext collect, emit;
  Msg response;
  auto writer = stub_->Collect(&collect, &response);
  writer->WaitForInitialMetadata();
  EXPECT_THAT(Values(collect.GetServerInitialMetadata(), "early"), ElementsAre("collect"));
  auto reader = stub_->Emit(&emit, Msg());
  reader->WaitForInitialMetadata();
  EXPECT_THAT(Values(emit.GetServerInitialMetadata(), "early"), ElementsAre("emit"));
  seen.Set();
  EXPECT_TRUE(writer->Finish().ok());
  EXPECT_TRUE(reader->Finish().ok());
  StopServer();
}

TEST_P(Metadata, InitialMetadataGoesWithTheFirstMessageOrTheStatus) {
  Start();
  Event seen;
  service_.emit = [&](ServerContext* context, const Msg* request, ServerEmitter* writer) {
    context->AddInitialMetadata("k", "v");
    if (request->number() != 0) {
      writer->Write(Number(1));
      EXPECT_TRUE(seen.Wait());  // so they have not come with the status
    }
    context->AddTrailingMetadata("t", "w");
    return Status(StatusCode::ABORTED, "end");
  };
  for (int messages = 0; messages < 2; ++messages) {
    ClientContext context;
    auto stream = stub_->Emit(&context, Number(messages));
    Msg message;
    EXPECT_EQ(stream->Read(&message), messages == 1);
    EXPECT_THAT(Values(context.GetServerInitialMetadata(), "k"), ElementsAre("v"));
    seen.Set();
    EXPECT_EQ(stream->Finish().error_code(), StatusCode::ABORTED);
    EXPECT_THAT(Values(context.GetServerTrailingMetadata(), "t"), ElementsAre("w"));
  }
  StopServer();
}

BEHAVIOUR_SUITE(Metadata);

}  // namespace
}  // namespace behaviour
