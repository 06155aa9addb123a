// Metadata in both directions.
#include "fixture.h"

namespace differential {
namespace {

class MetadataTest : public DifferentialTest {};

TEST_F(MetadataTest, TravelInOrderWithAllTheyMayHold) {
  Start();
  std::vector<std::string> many, binary, none, odd;
  service_.unary = [&](ServerContext* context, const Msg*, Msg*) {
    many = Values(context->client_metadata(), "many");
    binary = Values(context->client_metadata(), "any-bin");
    none = Values(context->client_metadata(), "none-bin");
    odd = Values(context->client_metadata(), "o_d.d-0");
    context->AddInitialMetadata("first", "b");
    context->AddInitialMetadata("first", "a");
    context->AddInitialMetadata("first-bin", AllBytes());
    context->AddTrailingMetadata("last", "b");
    context->AddTrailingMetadata("last", "a");
    context->AddTrailingMetadata("last", "b");
    context->AddTrailingMetadata("last-bin", AllBytes());
    context->AddTrailingMetadata("empty", "");
    return Status::OK;
  };
  ClientContext context;
  context.AddMetadata("many", "b");
  context.AddMetadata("many", "a");
  context.AddMetadata("many", "b");
  context.AddMetadata("any-bin", AllBytes());
  context.AddMetadata("any-bin", std::string("\0", 1));
  context.AddMetadata("none-bin", "");
  context.AddMetadata("o_d.d-0", "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~ x");
  Msg response;
  ASSERT_TRUE(stub_->Unary(&context, Msg(), &response).ok());
  EXPECT_THAT(many, ElementsAre("b", "a", "b"));
  EXPECT_THAT(binary, ElementsAre(AllBytes(), std::string("\0", 1)));
  EXPECT_THAT(none, ElementsAre(""));
  EXPECT_THAT(odd, ElementsAre("!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~ x"));
  StopServer();
  stub_.reset();
  channel_.reset();
  EXPECT_THAT(Values(context.GetServerInitialMetadata(), "first"), ElementsAre("b", "a"));
  EXPECT_THAT(Values(context.GetServerInitialMetadata(), "first-bin"), ElementsAre(AllBytes()));
  EXPECT_THAT(Values(context.GetServerTrailingMetadata(), "last"), ElementsAre("b", "a", "b"));
  EXPECT_THAT(Values(context.GetServerTrailingMetadata(), "last-bin"), ElementsAre(AllBytes()));
  EXPECT_THAT(Values(context.GetServerTrailingMetadata(), "empty"), ElementsAre(""));
}

TEST_F(MetadataTest, SentAtOnceTheyPrecedeTheFirstMessage) {
  Start();
  Event seen;
  service_.talk = [&](ServerContext* context, Talker* stream) {
    context->AddInitialMetadata("early", "yes");
    stream->SendInitialMetadata();
    EXPECT_TRUE(seen.Wait());
    stream->Write(Msg());
    return Status::OK;
  };
  service_.emit = [&](ServerContext* context, const Msg*, Emitter* writer) {
    context->AddInitialMetadata("early", "emit");
    writer->SendInitialMetadata();
    EXPECT_TRUE(seen.Wait());
    return Status::OK;
  };
  service_.collect = [&](ServerContext* context, Collector* reader, Msg*) {
    context->AddInitialMetadata("early", "collect");
    reader->SendInitialMetadata();
    EXPECT_TRUE(seen.Wait());
    return Status::OK;
  };
  ClientContext talk, emit, collect;
  const auto stream = stub_->Talk(&talk);
  stream->WaitForInitialMetadata();
  EXPECT_THAT(Values(talk.GetServerInitialMetadata(), "early"), ElementsAre("yes"));
  const auto reader = stub_->Emit(&emit, Msg());
  reader->WaitForInitialMetadata();
  EXPECT_THAT(Values(emit.GetServerInitialMetadata(), "early"), ElementsAre("emit"));
  Msg message;
  const auto writer = stub_->Collect(&collect, &message);
  writer->WaitForInitialMetadata();
  EXPECT_THAT(Values(collect.GetServerInitialMetadata(), "early"), ElementsAre("collect"));
  seen.Set();
  EXPECT_TRUE(stream->Read(&message));
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_TRUE(writer->Finish().ok());
  StopServer();
}

TEST_F(MetadataTest, GoWithTheFirstMessageElseWithTheStatus) {
  Start();
  service_.emit = [](ServerContext* context, const Msg* request, Emitter* writer) {
    context->AddInitialMetadata("k", "v");
    for (int i = 0; i < request->number(); ++i) writer->Write(Msg());
    context->AddTrailingMetadata("t", "w");
    return Status(StatusCode::ABORTED, "end");
  };
  for (int messages = 0; messages < 3; ++messages) {
    ClientContext context;
    const auto reader = stub_->Emit(&context, Number(messages));
    Msg message;
    EXPECT_EQ(reader->Read(&message), messages > 0);
    EXPECT_THAT(Values(context.GetServerInitialMetadata(), "k"), ElementsAre("v")) << messages;
    while (reader->Read(&message)) {
    }
    EXPECT_EQ(reader->Finish().error_code(), StatusCode::ABORTED);
    EXPECT_THAT(Values(context.GetServerTrailingMetadata(), "t"), ElementsAre("w")) << messages;
  }
}

TEST_F(MetadataTest, ReachStreamingHandlersToo) {
  Start();
  service_.talk = [](ServerContext* context, Talker* stream) {
    Msg message;
    message.set_text(Values(context->client_metadata(), "name").at(0));
    stream->Write(message);
    return Status::OK;
  };
  ClientContext context;
  context.AddMetadata("name", "value");
  const auto stream = stub_->Talk(&context);
  Msg message;
  EXPECT_TRUE(stream->Read(&message));
  EXPECT_EQ(message.text(), "value");
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(MetadataTest, SeveralKilobytesPass) {
  Start();
  const std::string bulk(1500, 'v');
  service_.unary = [&](ServerContext* context, const Msg*, Msg*) {
    EXPECT_THAT(Values(context->client_metadata(), "a"), ElementsAre(bulk, bulk));
    for (int i = 0; i < 2; ++i) {
      context->AddInitialMetadata("b", bulk);
      context->AddTrailingMetadata("c", bulk);
    }
    return Status::OK;
  };
  ClientContext context;
  context.AddMetadata("a", bulk);
  context.AddMetadata("a", bulk);
  Msg response;
  EXPECT_TRUE(stub_->Unary(&context, Msg(), &response).ok());
  EXPECT_THAT(Values(context.GetServerInitialMetadata(), "b"), ElementsAre(bulk, bulk));
  EXPECT_THAT(Values(context.GetServerTrailingMetadata(), "c"), ElementsAre(bulk, bulk));
  StopServer();
}

TEST_F(MetadataTest, TooMuchEndsItsCallAndTheChannelStaysUsable) {
  Start();
  const std::string bulk(20'000, 'v');
  service_.unary = [&](ServerContext* context, const Msg* request, Msg*) {
    if (request->number() == 1) context->AddInitialMetadata("k", bulk);
    if (request->number() == 2) context->AddTrailingMetadata("k", bulk);
    return Status::OK;
  };
  for (int i = 0; i < 3; ++i) {
    ClientContext context;
    context.set_deadline(In(kLimit));
    if (i == 0) context.AddMetadata("k", bulk);
    Msg response;
    EXPECT_EQ(stub_->Unary(&context, Number(i), &response).error_code(), StatusCode::RESOURCE_EXHAUSTED) << i;
    EXPECT_TRUE(Eventually([&] { return Call().ok(); }));
  }
  StopServer();
}

TEST_F(MetadataTest, AuthorityIsTaken) {
  Start();
  ClientContext context;
  context.set_authority("somebody");
  Msg response;
  EXPECT_TRUE(stub_->Unary(&context, Msg(), &response).ok());
}

}  // namespace
}  // namespace differential
