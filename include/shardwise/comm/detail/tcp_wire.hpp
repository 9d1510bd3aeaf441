// SPDX-License-Identifier: Apache-2.0
// The bytes of the TCP rendezvous. All numbers are little-endian. The hello and the frame have this form in every
// version of the protocol, so that ranks of different versions can tell each other so.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "shardwise/comm/detail/little_endian.hpp"
#include "shardwise/version.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

inline constexpr std::uint32_t tcp_protocol = 1;
inline constexpr std::uint32_t library_version =
    SHARDWISE_VERSION_MAJOR * 1000000 + SHARDWISE_VERSION_MINOR * 1000 + SHARDWISE_VERSION_PATCH;

/// Writes fields one after the other.
class wire_writer {
 public:
  explicit wire_writer(std::span<std::byte> to) : to_(to) {}
  void number(std::uint64_t x, std::size_t bytes) {
    write_little_endian(to_.subspan(at_, bytes), x);
    at_ += bytes;
  }
  /// In a field of `room` bytes, the rest of which is zero.
  void text(std::string_view s, std::size_t room) {
    std::memset(to_.data() + at_, 0, room);
    std::memcpy(to_.data() + at_, s.data(), s.size() < room ? s.size() : room);
    at_ += room;
  }

 private:
  std::span<std::byte> to_;
  std::size_t at_ = 0;
};

/// Reads them.
class wire_reader {
 public:
  explicit wire_reader(std::span<const std::byte> from) : from_(from) {}
  std::uint64_t number(std::size_t bytes) {
    const std::uint64_t x = read_little_endian(from_.subspan(at_, bytes));
    at_ += bytes;
    return x;
  }
  std::uint32_t u32() { return static_cast<std::uint32_t>(number(4)); }
  std::int32_t i32() { return static_cast<std::int32_t>(u32()); }
  std::string_view text(std::size_t room) {
    const std::string_view s(reinterpret_cast<const char*>(from_.data() + at_), room);
    at_ += room;
    return s;
  }

 private:
  std::span<const std::byte> from_;
  std::size_t at_ = 0;
};

/// A text in a field of fixed size: as long as said, and clipped where that is a lie.
template <std::size_t Room>
struct wire_text {
  static constexpr std::size_t room = Room;
  std::array<char, Room> bytes{};
  std::uint16_t size = 0;

  wire_text() = default;
  explicit wire_text(std::string_view s) : size(static_cast<std::uint16_t>(s.size() < Room ? s.size() : Room)) {
    std::memcpy(bytes.data(), s.data(), size);
  }
  std::string_view view() const { return {bytes.data(), size < Room ? size : Room}; }
  void write(wire_writer& w) const {
    w.number(size, 2);
    w.text({bytes.data(), Room}, Room);
  }
  void read(wire_reader& r) {
    size = static_cast<std::uint16_t>(r.number(2));
    std::memcpy(bytes.data(), r.text(Room).data(), Room);
  }
  /// Takes as long whatever differs, and wherever.
  bool same_as(const wire_text& o) const {
    unsigned different = static_cast<unsigned>(size ^ o.size);
    for (std::size_t i = 0; i < Room; ++i) different |= static_cast<unsigned char>(bytes[i] ^ o.bytes[i]);
    return different == 0;
  }
};

/// What a rank says first.
struct tcp_hello {
  static constexpr std::string_view magic = "SHRDWISE";
  static constexpr std::size_t size = 8 + 4 + 2 + 256 + 4 + 4 + 4 + 4 + 2 + 128;

  std::uint32_t protocol = tcp_protocol;
  wire_text<256> secret = {};
  std::uint32_t version = library_version;
  std::int32_t ranks = 0;
  std::int32_t rank = 0;
  std::uint32_t left_ms = 0;  ///< how long the rank will still wait for all to come
  wire_text<128> name = {};

  std::array<std::byte, size> bytes() const {
    std::array<std::byte, size> to;
    wire_writer w(to);
    w.text(magic, 8);
    w.number(protocol, 4);
    secret.write(w);
    for (const std::uint32_t x :
         {version, static_cast<std::uint32_t>(ranks), static_cast<std::uint32_t>(rank), left_ms})
      w.number(x, 4);
    name.write(w);
    return to;
  }
  /// Of bytes that begin with the magic.
  static tcp_hello of(std::span<const std::byte> from) {
    tcp_hello h;
    wire_reader r(from);
    r.text(8);
    h.protocol = r.u32();
    h.secret.read(r);
    h.version = r.u32();
    h.ranks = r.i32();
    h.rank = r.i32();
    h.left_ms = r.u32();
    h.name.read(r);
    return h;
  }
};

enum class frame_kind : std::uint8_t {
  accepted = 1,  ///< from rank 0: the hello is fine, wait for the others
  refused,       ///< from rank 0: the hello is not; a text follows
  start,         ///< from rank 0: all ranks have come
  barrier,       ///< to rank 0: this rank has come; from rank 0: all have
  broadcast,     ///< the same, and the root's bytes follow
  failure,       ///< from who fails to who waits; a text follows
  goodbye        ///< from a rank that makes no further call
};

/// What is said after the hello, in both directions; a text or the root's bytes may follow.
struct tcp_frame {
  static constexpr std::string_view magic = "SWframe1";
  static constexpr std::size_t size = 8 + 1 + 4 + 4 + 8 + 4;
  static constexpr std::size_t most_text = 1500;  ///< of a refusal or a failure

  frame_kind kind = frame_kind::goodbye;
  std::uint32_t number = 0;  ///< of the call
  std::int32_t root = 0;
  std::uint64_t follow = 0;  ///< bytes after this frame; in a rank's request, where only the root's follow, of the call
  std::uint32_t left_ms = 0;

  std::array<std::byte, size> bytes() const {
    std::array<std::byte, size> to;
    wire_writer w(to);
    w.text(magic, 8);
    w.number(static_cast<std::uint8_t>(kind), 1);
    w.number(number, 4);
    w.number(static_cast<std::uint32_t>(root), 4);
    w.number(follow, 8);
    w.number(left_ms, 4);
    return to;
  }
  /// False where the bytes are no frame.
  bool read(std::span<const std::byte> from) {
    wire_reader r(from);
    if (r.text(8) != magic) return false;
    const std::uint64_t what = r.number(1);
    kind = static_cast<frame_kind>(what);
    number = r.u32();
    root = r.i32();
    follow = r.number(8);
    left_ms = r.u32();
    const bool is_text = kind == frame_kind::failure || kind == frame_kind::refused;
    return what >= 1 && what <= 7 && (!is_text || follow <= most_text);
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
