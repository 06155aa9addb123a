#include "tools/protoc_gen_ipcrpc/comments.h"

#include <google/protobuf/descriptor.pb.h>

#include <sstream>
#include <vector>

namespace ipcrpc::codegen {

void PrintComment(google::protobuf::io::Printer& out, const std::string& text) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    while (!line.empty() && (line.back() == ' ' || line.back() == '\t' || line.back() == '\r'))
      line.pop_back();
    // A backslash at the end would pull the next line, code maybe, into the comment.
    if (!line.empty() && line.back() == '\\') line += " //";
    out.Print("//$line$\n", "line", line);
  }
}

void PrintFileComments(google::protobuf::io::Printer& out, const google::protobuf::FileDescriptor& file) {
  google::protobuf::SourceLocation location;
  const std::vector<int> syntax = {google::protobuf::FileDescriptorProto::kSyntaxFieldNumber};
  if (!file.GetSourceLocation(syntax, &location)) return;
  for (const std::string& detached : location.leading_detached_comments) {
    out.Print("//\n");
    PrintComment(out, detached);
  }
  if (location.leading_comments.empty()) return;
  out.Print("//\n");
  PrintComment(out, location.leading_comments);
}

}  // namespace ipcrpc::codegen
