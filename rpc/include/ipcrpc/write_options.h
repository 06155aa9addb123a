// How a message is written to a stream.
#pragma once

namespace ipcrpc {

class WriteOptions {
 public:
  // A hint that more follows soon: the peer need not be woken for this message alone.
  WriteOptions& set_buffer_hint() { return Set(buffer_hint_, true); }
  WriteOptions& clear_buffer_hint() { return Set(buffer_hint_, false); }
  bool get_buffer_hint() const { return buffer_hint_; }

  // No message follows: half-closes (client), or may travel with the status (server).
  WriteOptions& set_last_message() { return Set(last_message_, true); }
  WriteOptions& clear_last_message() { return Set(last_message_, false); }
  bool is_last_message() const { return last_message_; }

  WriteOptions& set_corked() { return set_buffer_hint(); }
  WriteOptions& clear_corked() { return clear_buffer_hint(); }
  bool is_corked() const { return get_buffer_hint(); }

  // Taken for compatibility: nothing is compressed on one machine.
  WriteOptions& set_no_compression() { return *this; }
  WriteOptions& clear_no_compression() { return *this; }
  bool get_no_compression() const { return true; }
  WriteOptions& set_write_through() { return *this; }
  WriteOptions& clear_write_through() { return *this; }

 private:
  WriteOptions& Set(bool& flag, bool value) {
    flag = value;
    return *this;
  }

  bool buffer_hint_ = false;
  bool last_message_ = false;
};

}  // namespace ipcrpc
