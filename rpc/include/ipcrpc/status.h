// The outcome of a call: a code, a message for people, and details for programs.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "ipcrpc/export.h"

namespace ipcrpc {

// The well-known codes with their well-known numbers.
enum StatusCode {
  OK = 0,
  CANCELLED = 1,
  UNKNOWN = 2,
  INVALID_ARGUMENT = 3,
  DEADLINE_EXCEEDED = 4,
  NOT_FOUND = 5,
  ALREADY_EXISTS = 6,
  PERMISSION_DENIED = 7,
  RESOURCE_EXHAUSTED = 8,
  FAILED_PRECONDITION = 9,
  ABORTED = 10,
  OUT_OF_RANGE = 11,
  UNIMPLEMENTED = 12,
  INTERNAL = 13,
  UNAVAILABLE = 14,
  DATA_LOSS = 15,
  UNAUTHENTICATED = 16,
  DO_NOT_USE = -1,
};

// A value. Code, message and details reach the other side byte for byte. One without text is a number and costs as much.
class IPCRPC_EXPORT Status {
 public:
  Status() = default;  // OK
  Status(StatusCode code, std::string message) : Status(code, std::move(message), std::string()) {}
  Status(StatusCode code, std::string message, std::string details);
  ~Status() = default;
  Status(const Status& other) : code_(other.code_), text_(CopyOf(other.text_)) {}
  Status& operator=(const Status& other) {
    code_ = other.code_;
    text_ = CopyOf(other.text_);
    return *this;
  }
  // What was moved from keeps its code.
  Status(Status&&) = default;
  Status& operator=(Status&&) = default;

  static const Status OK;
  static const Status CANCELLED;

  bool ok() const { return code_ == StatusCode::OK; }
  StatusCode error_code() const { return code_; }
  const std::string& error_message() const { return text_ == nullptr ? kNoText : text_->message; }
  // Any bytes; by convention a serialised google.rpc.Status.
  const std::string& error_details() const { return text_ == nullptr ? kNoText : text_->details; }
  void IgnoreError() const {}

 private:
  struct Text {
    std::string message, details;
  };
  static std::unique_ptr<Text> CopyOf(const std::unique_ptr<Text>& text) {
    return text == nullptr ? nullptr : std::make_unique<Text>(*text);
  }
  static const std::string kNoText;

  StatusCode code_ = StatusCode::OK;
  std::unique_ptr<Text> text_;  // null: none
};

}  // namespace ipcrpc
