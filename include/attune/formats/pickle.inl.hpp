#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include <attune/core/error.hpp>
#include <attune/core/sort.hpp>
#include <attune/formats/pickle.hpp>

// Opcodes are those of CPython's Lib/pickletools.py; the globals those of PyTorch's
// torch/_weights_only_unpickler.py.

namespace attune::detail {

/// What a global that is allowed stands for.
enum class PickleGlobal : std::uint8_t { ordered_dict, rebuild_tensor, rebuild_parameter, storage };

struct PickleGlobalName {
  std::string_view name;
  PickleGlobal global;
  DType dtype;  // of a storage
};

inline constexpr std::array<PickleGlobalName, 14> pickle_globals = {{
    {"collections.OrderedDict", PickleGlobal::ordered_dict, {}},
    {"torch._utils._rebuild_tensor_v2", PickleGlobal::rebuild_tensor, {}},
    {"torch._utils._rebuild_parameter", PickleGlobal::rebuild_parameter, {}},
    {"torch._utils._rebuild_parameter_with_state", PickleGlobal::rebuild_parameter, {}},
    {"torch.FloatStorage", PickleGlobal::storage, DType::f32},
    {"torch.DoubleStorage", PickleGlobal::storage, DType::f64},
    {"torch.HalfStorage", PickleGlobal::storage, DType::f16},
    {"torch.BFloat16Storage", PickleGlobal::storage, DType::bf16},
    {"torch.LongStorage", PickleGlobal::storage, DType::i64},
    {"torch.IntStorage", PickleGlobal::storage, DType::i32},
    {"torch.ShortStorage", PickleGlobal::storage, DType::i16},
    {"torch.CharStorage", PickleGlobal::storage, DType::i8},
    {"torch.ByteStorage", PickleGlobal::storage, DType::u8},
    {"torch.BoolStorage", PickleGlobal::storage, DType::boolean},
}};

class Unpickler {
 public:
  Unpickler(std::span<const std::byte> pickle, const std::string& file, std::int64_t base)
      : pickle_(pickle), file_(file), base_(base) {}

  std::vector<PickledTensor> run() {
    if (pickle_.size() > max_bytes) fail("expected at most 16 MiB, found " + std::to_string(pickle_.size()));
    while (step()) {
    }
    if (stack_.size() != 1) fail("ends with " + std::to_string(stack_.size()) + " values, expected 1");
    if (at_ != pickle_.size()) fail("bytes after the end");
    return state_dict();
  }

 private:
  using Index = std::uint32_t;  // into nodes_
  enum class Kind : std::uint8_t {
    mark,
    none,
    boolean,
    integer,
    real,
    text,
    tuple,
    list,
    dict,
    global,
    storage,
    tensor
  };
  struct Node {
    Kind kind = Kind::none;
    std::int64_t number = 0;  // the value; the place in pickle_globals, storages_ or tensors_
    std::string_view text = {};
    std::vector<Index> items = {};  // a dict's are key, value, key, value, ...
  };
  struct Storage {
    std::string_view key;
    DType dtype;
    std::int64_t elements;
  };

  static constexpr std::size_t max_bytes = std::size_t{16} << 20;
  static constexpr std::size_t max_nodes = 1'000'000;
  static constexpr std::size_t max_tensors = 100'000;
  static constexpr std::size_t max_name = 200;  // of a global or a storage; those are copied and quoted

  [[noreturn]] void fail(const std::string& what) const {
    throw FormatError(file_, base_ + static_cast<std::int64_t>(begin_), "pickle: " + what);
  }

  static std::string hex(unsigned value) {
    constexpr std::string_view digits = "0123456789abcdef";
    return {'0', 'x', digits[value >> 4 & 15], digits[value & 15]};
  }

  static std::string_view name_of(Kind kind) {
    constexpr std::array<std::string_view, 12> names = {"a mark",  "None",   "a boolean", "an integer",
                                                        "a float", "a text", "a tuple",   "a list",
                                                        "a dict",  "a type", "a storage", "a tensor"};
    return names[static_cast<std::size_t>(kind)];
  }

  static std::string quotable(std::string_view text) { return std::string(text.substr(0, max_name)); }

  // Reading.

  std::string_view take(std::uint64_t size) {
    if (size > pickle_.size() - at_) fail("ends in the middle");
    const std::string_view text(reinterpret_cast<const char*>(pickle_.data()) + at_, size);
    at_ += size;
    return text;
  }
  template <class T>
  T take() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::string_view take_line() {
    const std::string_view rest(reinterpret_cast<const char*>(pickle_.data()) + at_, pickle_.size() - at_);
    const std::size_t size = rest.substr(0, max_name + 1).find('\n');
    if (size == std::string_view::npos) fail("a name without an end");
    at_ += size + 1;
    return rest.substr(0, size);
  }
  /// Little-endian two's complement of up to 8 bytes.
  std::int64_t take_long() {
    const unsigned size = take<std::uint8_t>();
    if (size > 8) fail("an integer of " + std::to_string(size) + " bytes");
    const std::string_view bytes = take(size);
    std::uint64_t value = size > 0 && (bytes.back() & 0x80) != 0 ? ~std::uint64_t{0} : 0;
    for (unsigned i = size; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
    return static_cast<std::int64_t>(value);
  }

  // The stack.

  Node& push(Kind kind, std::int64_t number = 0, std::string_view text = {}) {
    if (nodes_.size() == max_nodes) fail("more than " + std::to_string(max_nodes) + " values");
    stack_.push_back(static_cast<Index>(nodes_.size()));
    return nodes_.emplace_back(Node{kind, number, text, {}});
  }
  Index pop() {
    const Index index = top();
    stack_.pop_back();
    return index;
  }
  Index top() const {
    if (stack_.empty() || nodes_[stack_.back()].kind == Kind::mark) fail("takes a value that is not there");
    return stack_.back();
  }
  Index top(Kind kind) const {
    expect(top(), kind);
    return top();
  }
  void expect(Index index, Kind kind) const {
    if (nodes_[index].kind != kind)
      fail("expected " + std::string(name_of(kind)) + ", found " + std::string(name_of(nodes_[index].kind)));
  }
  /// Takes what lies above the last mark, and the mark.
  std::vector<Index> pop_to_mark() {
    std::size_t mark = stack_.size();
    while (mark > 0 && nodes_[stack_[mark - 1]].kind != Kind::mark) --mark;
    if (mark == 0) fail("takes a mark that is not there");
    std::vector<Index> items(stack_.begin() + static_cast<std::ptrdiff_t>(mark), stack_.end());
    stack_.resize(mark - 1);
    return items;
  }
  void push_tuple(std::size_t size) {
    std::vector<Index> items(size);
    for (std::size_t i = size; i-- > 0;) items[i] = pop();
    push(Kind::tuple).items = std::move(items);
  }
  void append(Kind kind, const std::vector<Index>& items) {
    if (kind == Kind::dict && items.size() % 2 != 0) fail("a key without a value");
    std::vector<Index>& to = nodes_[top(kind)].items;
    to.insert(to.end(), items.begin(), items.end());
  }
  void memo_put(std::size_t place) {
    if (place >= max_nodes) fail("memo entry " + std::to_string(place));
    if (memo_.size() <= place) memo_.resize(place + 1, none);
    memo_[place] = top();
  }
  void memo_get(std::size_t place) {
    if (place >= memo_.size() || memo_[place] == none)
      fail("memo entry " + std::to_string(place) + " is not there");
    if (stack_.size() >= max_nodes) fail("more than " + std::to_string(max_nodes) + " values");
    stack_.push_back(memo_[place]);
  }

  /// Performs one opcode; false at the end.
  bool step() {
    begin_ = at_;
    const auto opcode = take<std::uint8_t>();
    switch (opcode) {
      case 0x80: {  // PROTO
        const unsigned protocol = take<std::uint8_t>();
        if (protocol < 2 || protocol > 5) fail("protocol " + std::to_string(protocol));
        break;
      }
      case 0x95:
        take<std::uint64_t>();
        break;  // FRAME
      case '.':
        return false;  // STOP
      case '(':
        push(Kind::mark);
        break;
      case 'N':
        push(Kind::none);
        break;
      case 0x88:
        push(Kind::boolean, 1);
        break;
      case 0x89:
        push(Kind::boolean, 0);
        break;
      case 'J':
        push(Kind::integer, take<std::int32_t>());
        break;  // BININT
      case 'K':
        push(Kind::integer, take<std::uint8_t>());
        break;  // BININT1
      case 'M':
        push(Kind::integer, take<std::uint16_t>());
        break;  // BININT2
      case 0x8a:
        push(Kind::integer, take_long());
        break;  // LONG1
      case 'G':
        take(8), push(Kind::real);
        break;  // BINFLOAT, a value that nothing needs
      case 'X':
        push_text(take<std::uint32_t>());
        break;  // BINUNICODE
      case 0x8c:
        push_text(take<std::uint8_t>());
        break;  // SHORT_BINUNICODE
      case '}':
        push(Kind::dict);
        break;
      case ']':
        push(Kind::list);
        break;
      case ')':
        push(Kind::tuple);
        break;
      case 't': {  // TUPLE
        std::vector<Index> items = pop_to_mark();
        push(Kind::tuple).items = std::move(items);
        break;
      }
      case 0x85:
        push_tuple(1);
        break;
      case 0x86:
        push_tuple(2);
        break;
      case 0x87:
        push_tuple(3);
        break;
      case 'a':
        append_popped(Kind::list, 1);
        break;  // APPEND
      case 's':
        append_popped(Kind::dict, 2);
        break;  // SETITEM
      case 'e':
        append(Kind::list, pop_to_mark());
        break;  // APPENDS
      case 'u':
        append(Kind::dict, pop_to_mark());
        break;  // SETITEMS
      case 'q':
        memo_put(take<std::uint8_t>());
        break;  // BINPUT
      case 'r':
        memo_put(take<std::uint32_t>());
        break;  // LONG_BINPUT
      case 0x94:
        memo_put(memo_.size());
        break;  // MEMOIZE
      case 'h':
        memo_get(take<std::uint8_t>());
        break;  // BINGET
      case 'j':
        memo_get(take<std::uint32_t>());
        break;     // LONG_BINGET
      case 'c': {  // GLOBAL
        const std::string_view module = take_line();
        push_global(module, take_line());
        break;
      }
      case 0x93: {  // STACK_GLOBAL
        const Index name = pop();
        const Index module = pop();
        expect(name, Kind::text);
        expect(module, Kind::text);
        push_global(nodes_[module].text, nodes_[name].text);
        break;
      }
      case 'Q':
        push_storage(pop());
        break;     // BINPERSID
      case 'R': {  // REDUCE
        const Index arguments = pop();
        call(pop(), arguments);
        break;
      }
      case 'b': {  // BUILD: state_dict() hangs its "_metadata" on the dictionary, which says nothing about
                   // weights
        expect(pop(), Kind::dict);
        top(Kind::dict);
        break;
      }
      default:
        fail("opcode " + hex(opcode) + " is not allowed");
    }
    return true;
  }

  void append_popped(Kind kind, std::size_t count) {
    std::vector<Index> items(count);
    for (std::size_t i = count; i-- > 0;) items[i] = pop();
    append(kind, items);
  }
  void push_text(std::uint64_t size) {
    const std::string_view text = take(size);
    push(Kind::text, 0, text);
  }

  // What PyTorch's globals do.

  void push_global(std::string_view module, std::string_view name) {
    const std::string full = quotable(module) + "." + quotable(name);
    for (std::size_t i = 0; i < pickle_globals.size(); ++i) {
      if (pickle_globals[i].name != full) continue;
      push(Kind::global, static_cast<std::int64_t>(i));
      return;
    }
    fail("global \"" + full + "\" is not allowed");
  }

  const PickleGlobalName& global(Index index) const {
    expect(index, Kind::global);
    return pickle_globals[static_cast<std::size_t>(nodes_[index].number)];
  }
  std::int64_t integer(Index index) const {
    expect(index, Kind::integer);
    return nodes_[index].number;
  }

  /// ('storage', type, key, location, number of elements)
  void push_storage(Index id) {
    expect(id, Kind::tuple);
    const std::vector<Index>& parts = nodes_[id].items;
    if (parts.size() != 5) fail("a persistent id of " + std::to_string(parts.size()) + " parts, expected 5");
    expect(parts[0], Kind::text);
    if (nodes_[parts[0]].text != "storage")
      fail("persistent id \"" + quotable(nodes_[parts[0]].text) + "\" is not allowed");
    const PickleGlobalName& type = global(parts[1]);
    if (type.global != PickleGlobal::storage) fail(std::string(type.name) + " is not a storage");
    expect(parts[2], Kind::text);
    expect(parts[3], Kind::text);
    if (nodes_[parts[2]].text.size() > max_name) fail("a storage key of more than 200 bytes");
    storages_.push_back({nodes_[parts[2]].text, type.dtype, integer(parts[4])});
    push(Kind::storage, static_cast<std::int64_t>(storages_.size()) - 1);
  }

  void call(Index function, Index arguments) {
    const PickleGlobalName& callee = global(function);
    expect(arguments, Kind::tuple);
    const std::vector<Index>& values = nodes_[arguments].items;
    const auto expect_count = [&](std::size_t least, std::size_t most) {
      if (values.size() < least || values.size() > most)
        fail(std::string(callee.name) + " with " + std::to_string(values.size()) + " arguments");
    };
    switch (callee.global) {
      case PickleGlobal::ordered_dict:
        expect_count(0, 0);
        push(Kind::dict);
        break;
      case PickleGlobal::rebuild_tensor:  // storage, offset, size, stride, requires_grad, hooks[, metadata]
        expect_count(6, 7);
        push_tensor(values);
        break;
      case PickleGlobal::rebuild_parameter:  // tensor, requires_grad, hooks[, attributes, passed over]
        expect_count(3, 4);
        expect(values[0], Kind::tensor);
        stack_.push_back(values[0]);
        break;
      case PickleGlobal::storage:
        fail(std::string(callee.name) + " is not a function");
    }
  }

  void push_tensor(const std::vector<Index>& values) {
    expect(values[0], Kind::storage);
    const Storage& storage = storages_[static_cast<std::size_t>(nodes_[values[0]].number)];
    if (tensors_.size() == max_tensors) fail("more than " + std::to_string(max_tensors) + " tensors");
    PickledTensor tensor;
    tensor.dtype = storage.dtype;
    tensor.storage = storage.key;
    tensor.storage_elements = storage.elements;
    tensor.storage_offset = integer(values[1]);
    tensor.shape = extents(values[2]);
    tensor.strides = extents(values[3]);
    tensors_.push_back(std::move(tensor));
    push(Kind::tensor, static_cast<std::int64_t>(tensors_.size()) - 1);
  }

  Shape extents(Index index) const {
    expect(index, Kind::tuple);
    const std::vector<Index>& items = nodes_[index].items;
    if (items.size() > static_cast<std::size_t>(Shape::max_rank))
      fail("a tensor of " + std::to_string(items.size()) + " dimensions, expected at most " +
           std::to_string(Shape::max_rank));
    std::array<std::int64_t, Shape::max_rank> numbers{};
    for (std::size_t i = 0; i < items.size(); ++i) numbers[i] = integer(items[i]);
    return Shape(std::span<const std::int64_t>(numbers.data(), items.size()));
  }

  // The result.

  std::vector<PickledTensor> state_dict() const {
    Index root = top(Kind::dict);
    const std::vector<Index>& items = nodes_[root].items;
    for (std::size_t i = 0; i < items.size(); i += 2)
      if (nodes_[items[i]].kind == Kind::text && nodes_[items[i]].text == "state_dict" &&
          nodes_[items[i + 1]].kind == Kind::dict)
        root = items[i + 1];
    const std::vector<Index>& entries = nodes_[root].items;
    if (entries.size() / 2 > max_tensors) fail("more than " + std::to_string(max_tensors) + " tensors");
    std::vector<std::pair<std::string_view, std::size_t>> names;  // and places in tensors_
    for (std::size_t i = 0; i < entries.size(); i += 2) {
      const Node& key = nodes_[entries[i]];
      const Node& value = nodes_[entries[i + 1]];
      if (key.kind != Kind::text) fail("expected names as keys, found " + std::string(name_of(key.kind)));
      if (value.kind != Kind::tensor)
        fail("\"" + quotable(key.text) + "\": expected a tensor, found " + std::string(name_of(value.kind)));
      names.emplace_back(key.text, static_cast<std::size_t>(value.number));
    }
    sort_items(names, std::less<>());
    std::vector<PickledTensor> result;
    for (std::size_t i = 0; i < names.size(); ++i) {  // distinct names are distinct bytes of the pickle
      if (i > 0 && names[i].first == names[i - 1].first)
        fail("duplicate name \"" + quotable(names[i].first) + "\"");
      result.push_back(tensors_[names[i].second]);
      result.back().name = names[i].first;
    }
    return result;
  }

  static constexpr Index none = std::numeric_limits<Index>::max();

  std::span<const std::byte> pickle_;
  const std::string& file_;
  std::int64_t base_;
  std::size_t at_ = 0;
  std::size_t begin_ = 0;  // of the opcode that runs
  std::vector<Node> nodes_;
  std::vector<Index> stack_;
  std::vector<Index> memo_;
  std::vector<Storage> storages_;
  std::vector<PickledTensor> tensors_;
};

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE std::vector<PickledTensor> read_torch_pickle(std::span<const std::byte> pickle,
                                                           const std::string& file, std::int64_t base) {
  return detail::Unpickler(pickle, file, base).run();
}

}  // namespace attune
