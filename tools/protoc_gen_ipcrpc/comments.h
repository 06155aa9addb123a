// Comments of the .proto, carried over to where their subjects are declared.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/printer.h>

#include <string>

namespace ipcrpc::codegen {

void PrintComment(google::protobuf::io::Printer& out, const std::string& text);

// What stands above the `syntax` line: usually a licence and what the file is about.
void PrintFileComments(google::protobuf::io::Printer& out, const google::protobuf::FileDescriptor& file);

template <typename Descriptor>
void PrintLeadingComments(google::protobuf::io::Printer& out, const Descriptor& subject) {
  google::protobuf::SourceLocation location;
  if (!subject.GetSourceLocation(&location)) return;
  for (const std::string& detached : location.leading_detached_comments) {
    PrintComment(out, detached);
    out.Print("\n");
  }
  PrintComment(out, location.leading_comments);
}

template <typename Descriptor>
void PrintTrailingComments(google::protobuf::io::Printer& out, const Descriptor& subject) {
  google::protobuf::SourceLocation location;
  if (subject.GetSourceLocation(&location)) PrintComment(out, location.trailing_comments);
}

}  // namespace ipcrpc::codegen
