# sed -E -i -f from-grpc.sed FILE…: swaps gRPC C++ for ipcrpc in sources that use its callback or synchronous API.
s/\bgrpc::/ipcrpc::/g
s/\bnamespace grpc\b/namespace ipcrpc/g
s,<grpcpp/grpcpp\.h>,<ipcrpc/ipcrpc.h>,
s,([<"])grpcpp/,\1ipcrpc/,
s/\.grpc\.pb\.h/.ipcrpc.pb.h/
s/\bGRPC_(CHANNEL|ARG)_/IPCRPC_\1_/g
s/\bgrpc_connectivity_state\b/ipcrpc_connectivity_state/g
# What is generated from gRPC's own protos (grpc.health.v1 and the like) keeps the name of its package.
s/\bipcrpc::(health|reflection|channelz)::(v1\w*)\b/grpc::\1::\2/g
