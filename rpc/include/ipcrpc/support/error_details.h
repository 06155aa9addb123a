// A status with a message of details, conventionally a google.rpc.Status.
#pragma once

#include "ipcrpc/status.h"

namespace ipcrpc {

// Reads the details of `from` into `*to`, a protobuf message. FAILED_PRECONDITION: `to` is null;
// INVALID_ARGUMENT: the details do not parse as a T.
template <typename T>
Status ExtractErrorDetails(const Status& from, T* to) {
  if (to == nullptr) return Status(StatusCode::FAILED_PRECONDITION, "no message to put the details in");
  if (!to->ParseFromString(from.error_details())) {
    return Status(StatusCode::INVALID_ARGUMENT, "the error details do not parse");
  }
  return Status();
}

// Makes `*to` of a message with code(), message() and serialisation: all of it becomes the details. A code
// that is none of the well-known ones becomes UNKNOWN. FAILED_PRECONDITION: `to` is null.
template <typename T>
Status SetErrorDetails(const T& from, Status* to) {
  if (to == nullptr) return Status(StatusCode::FAILED_PRECONDITION, "no status to put the details in");
  const bool known = from.code() >= StatusCode::OK && from.code() <= StatusCode::UNAUTHENTICATED;
  *to = Status(known ? static_cast<StatusCode>(from.code()) : StatusCode::UNKNOWN, from.message(),
               from.SerializeAsString());
  return Status();
}

}  // namespace ipcrpc
