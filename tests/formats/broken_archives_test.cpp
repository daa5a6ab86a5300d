#include "archive_tools.hpp"
#include "corpus.hpp"

// The broken zip archives and pickles.

namespace attune_test {

std::vector<BrokenFile> broken_zips() {
  std::vector<BrokenFile> files;
  const auto zip = [&](const std::string& name, const std::string& bytes, const std::string& message) {
    files.push_back({"zip: " + name, Reader::zip, bytes, "FormatError", message});
  };
  const ZipContent content = {{"first", "some content"}, {"second", "more"}};
  const Zip good = make_zip(content);
  const Zip good64 = make_zip(content, true);
  const std::size_t first = good.centrals[0], second = good.centrals[1];
  using u16 = std::uint16_t;
  using u32 = std::uint32_t;
  using u64 = std::uint64_t;

  zip("empty", "", "too short: 0 bytes");
  zip("21 bytes", std::string(21, 'P'), "too short: 21 bytes");
  zip("no end record", good.bytes.substr(0, good.end) + std::string(22, ' '), "no end of central directory");
  zip("many zero bytes", std::string(200000, '\0'), "no end of central directory");
  zip("bytes after the end", good.bytes + "x", "no end of central directory");
  zip("a comment that is cut", good.patched<u16>(good.end + 20, 9).bytes + "comment",
      "no end of central directory");
  zip("a beginning cut off", good.bytes.substr(4), "is outside the file");
  zip("two disks", good.patched<u16>(good.end + 4, 1).bytes, "spans several disks");
  zip("a directory on another disk", good.patched<u16>(good.end + 6, 1).bytes, "spans several disks");
  zip("more entries than there are", good.patched<u16>(good.end + 10, 3).bytes,
      "do not fit in the central directory");
  zip("65535 entries", good.patched<u16>(good.end + 10, 0xffff).bytes, "do not fit in the central directory");
  zip("fewer entries than there are", good.patched<u16>(good.end + 10, 1).bytes, "longer than its entries");
  zip("a directory behind the end", good.patched<u32>(good.end + 16, 0x7fffffff).bytes,
      "is outside the file");
  zip("a directory that is too long", good.patched<u32>(good.end + 12, 0xfffffff0).bytes,
      "is outside the file");
  zip("a directory that begins elsewhere", good.patched<u32>(good.end + 16, 3).bytes,
      "broken central directory");
  zip("an encrypted entry", good.patched<u16>(first + 8, 1).bytes, "\"first\" is encrypted");
  zip("a strongly encrypted entry", good.patched<u16>(second + 8, 0x40).bytes, "\"second\" is encrypted");
  zip("a deflated entry", good.patched<u16>(first + 10, 8).bytes, "\"first\" is compressed (method 8)");
  zip("a method that nobody knows", good.patched<u16>(second + 10, 999).bytes,
      "\"second\" is compressed (method 999)");
  zip("two sizes", good.patched<u32>(first + 20, 11).bytes, "\"first\" has two sizes");
  zip("an entry on another disk", good.patched<u16>(first + 34, 2).bytes, "\"first\" is on another disk");
  zip("a name that is too long", good.patched<u16>(second + 28, 0xffff).bytes,
      "leaves the central directory");
  zip("a comment that is too long", good.patched<u16>(second + 32, 0xffff).bytes,
      "leaves the central directory");
  zip("an extra field that is too long", good.patched<u16>(second + 30, 5).bytes,
      "leaves the central directory");
  zip("no local header", good.patched<u32>(good.locals[1], 0).bytes, "\"second\": no local header");
  zip("a local header elsewhere", good.patched<u32>(second + 42, 1).bytes, "\"second\": no local header");
  zip("a local header behind the end", good.patched<u32>(second + 42, 0x7fffffff).bytes, "no local header");
  zip("another name in the local header", good.patched<char>(good.locals[0] + 30, 'F').bytes,
      "has another name");
  zip("a longer name in the local header", good.patched<u16>(good.locals[0] + 26, 6).bytes,
      "has another name");
  zip("a local name that leaves the file", good.patched<u16>(good.locals[1] + 26, 0xffff).bytes,
      "leaves the file");
  zip("a content that leaves the file",
      good.patched<u32>(second + 20, 0x7fffffff).patched<u32>(second + 24, 0x7fffffff).bytes,
      "\"second\" leaves the file");
  zip("overlapping entries", good.patched<u32>(first + 20, 20).patched<u32>(first + 24, 20).bytes,
      "entries overlap");
  zip("one entry under two names", make_zip({{"same", "1"}, {"same", "2"}}).bytes,
      "duplicate entry \"same\"");
  zip("the same local header twice",
      make_zip({{"same", "1"}, {"same", "1"}})
          .patched<u32>(make_zip({{"same", "1"}, {"same", "1"}}).centrals[1] + 42, 0)
          .bytes,
      "entries overlap");
  zip("zip64: end record elsewhere", good64.patched<u64>(good64.locator + 8, 7).bytes,
      "not where it should be");
  zip("zip64: end record behind the end", good64.patched<u64>(good64.locator + 8, ~u64{0}).bytes,
      "not where it should be");
  zip("zip64: two disks", good64.patched<u32>(good64.end64 + 16, 1).bytes, "spans several disks");
  zip("zip64: 2^60 entries", good64.patched<u64>(good64.end64 + 32, u64{1} << 60).bytes,
      "entries do not fit");
  zip("zip64: a directory of 2^64 - 1 bytes", good64.patched<u64>(good64.end64 + 40, ~u64{0}).bytes,
      "is outside the file");
  zip("zip64: a directory at 2^64 - 1", good64.patched<u64>(good64.end64 + 48, ~u64{0}).bytes,
      "is outside the file");
  const std::size_t extra = good64.centrals[0] + 46 + 5;
  zip("zip64: a field is missing", good64.patched<u16>(extra + 2, 16).bytes, "a zip64 field is missing");
  zip("zip64: an extra field leaves its entry", good64.patched<u16>(extra + 2, 200).bytes,
      "leaves its entry");
  zip("zip64: a content of 2^63 bytes",
      good64.patched<u64>(extra + 4, u64{1} << 63).patched<u64>(extra + 12, u64{1} << 63).bytes,
      "leaves the file");
  zip("zip64: a local header at 2^64 - 1", good64.patched<u64>(extra + 20, ~u64{0}).bytes, "no local header");
  return files;
}

namespace {

using namespace pickle;

void add_programs(std::vector<BrokenFile>& files) {
  const auto add = [&](const std::string& name, const std::string& bytes, const std::string& message) {
    files.push_back({"pickle: " + name, Reader::torch, torch_archive(bytes), "FormatError", message});
  };
  const auto refused_global = [&](const std::string& module, const std::string& name) {
    add("global " + module + "." + name, with_tensor(global(module, name) + text("true") + "\x85R"),
        "global \"" + module + "." + name + "\" is not allowed");
  };
  const auto refused_opcode = [&](const std::string& name, const std::string& code, const std::string& hex) {
    add("opcode " + name, program("}" + code), "opcode " + hex + " is not allowed");
  };
  refused_global("os", "system");
  refused_global("posix", "system");
  refused_global("builtins", "eval");
  refused_global("builtins", "getattr");
  refused_global("subprocess", "Popen");
  refused_global("torch", "load");
  refused_global("torch", "ComplexFloatStorage");
  refused_global("torch._utils", "_rebuild_tensor");
  refused_global("torch._utils", "_rebuild_sparse_tensor");
  refused_global("numpy.core.multiarray", "_reconstruct");
  refused_global("collections", "OrderedDict2");
  refused_global("", "");
  add("a global by STACK_GLOBAL", program(text("os") + text("system") + "\x93"),
      "global \"os.system\" is not allowed");
  add("STACK_GLOBAL of numbers", program("K\1K\2\x93"), "expected a text, found an integer");
  add("a global without an end", program("cos"), "a name without an end");
  add("a global of a million bytes", program("c" + std::string(1000000, 'a') + "\n\n"),
      "a name without an end");
  refused_opcode("INST", "ios\nsystem\n", "0x69");
  refused_opcode("OBJ", "o", "0x6f");
  refused_opcode("NEWOBJ", "\x81", "0x81");
  refused_opcode("NEWOBJ_EX", "\x92", "0x92");
  refused_opcode("EXT1", "\x82\x01", "0x82");
  refused_opcode("EXT4", "\x84", "0x84");
  refused_opcode("PERSID", "P1\n", "0x50");
  refused_opcode("INT", "I1\n", "0x49");
  refused_opcode("STRING", "S'a'\n", "0x53");
  refused_opcode("LONG4", "\x8b", "0x8b");
  refused_opcode("BINBYTES8", "\x8e", "0x8e");
  refused_opcode("BYTEARRAY8", "\x96", "0x96");
  refused_opcode("NEXT_BUFFER", "\x97", "0x97");
  refused_opcode("POP", "0", "0x30");
  refused_opcode("DUP", "2", "0x32");
  refused_opcode("zero", std::string(1, '\0'), "0x00");
  refused_opcode("0xff", "\xff", "0xff");

  add("empty", "", "ends in the middle");
  add("no end", "\x80\x02}", "ends in the middle");
  add("protocol 1", "\x80\x01}.", "protocol 1");
  add("protocol 99", "\x80\x63}.", "protocol 99");
  add("nothing on the stack", program(""), "ends with 0 values");
  add("two values on the stack", program("}}"), "ends with 2 values");
  add("bytes after the end", program("}") + "x", "bytes after the end");
  add("a text longer than the file", program("X\xff\xff\xff\xff"), "ends in the middle");
  add("a short text longer than the file", program("\x8c\xff"), "ends in the middle");
  add("a frame that is cut", "\x80\x04\x95\x01", "ends in the middle");
  add("a float that is cut", "\x80\x02G123", "ends in the middle");
  add("an integer of 200 bytes", program("\x8a\xc8" + std::string(200, '\1')), "an integer of 200 bytes");
  add("REDUCE on an empty stack", program("R"), "takes a value that is not there");
  add("BUILD on an empty stack", program("b"), "takes a value that is not there");
  add("BUILD of a text", program("}" + text("a") + "b"), "expected a dict, found a text");
  add("SETITEMS without a mark", program("}u"), "takes a mark that is not there");
  add("SETITEMS of a key alone", program("}(" + text("a") + "u"), "a key without a value");
  add("SETITEMS into a list", program("](" + text("a") + text("b") + "u"), "expected a dict, found a list");
  add("APPEND to a dict", program("}K\1a"), "expected a list, found a dict");
  add("a mark as a value", program("("), "a value that is not there");
  add("a tuple across a mark", program("K\1(\x86"), "takes a value that is not there");
  add("memo entry that is not there", program("h\x07"), "memo entry 7 is not there");
  add("memo entry 2^32 - 1", program("}r\xff\xff\xff\xff"), "memo entry 4294967295");
  add("memo entry read at 2^32 - 1", program("j\xff\xff\xff\xff"), "memo entry 4294967295 is not there");
  add("memo entry without a value", program(std::string("q\0", 2)), "takes a value that is not there");
  add("two million empty lists", program(std::string(2000000, ']')), "more than 1000000 values");
  add("two million copies",
      program(std::string("}q\0", 3) +
              [] {
                std::string copies;
                for (int i = 0; i < 2000000; ++i) copies += std::string("h\0", 2);
                return copies;
              }()),
      "more than 1000000 values");
  add("17 MiB", program(std::string(std::size_t{17} << 20, 'N')), "expected at most 16 MiB");
  add("a list", program("]"), "expected a dict, found a list");
  add("a tensor alone", program(tensor(storage(4), 0, {4}, {1})), "expected a dict, found a tensor");
  add("numbers as names", program(dict("K\1" + tensor(storage(4), 0, {4}, {1}))), "expected names as keys");
  add("a text as a tensor", with_tensor(text("b")), "\"a\": expected a tensor, found a text");
  add("a dict as a tensor", with_tensor("}"), "\"a\": expected a tensor, found a dict");
  add("a dict that holds itself", program(std::string("}q\0(", 4) + text("a") + std::string("h\0u", 3)),
      "\"a\": expected a tensor, found a dict");
  add("a name twice",
      program(
          dict(text("a") + tensor(storage(4), 0, {4}, {1}) + text("a") + tensor(storage(4), 0, {4}, {1}))),
      "duplicate name \"a\"");
}

void add_tensors(std::vector<BrokenFile>& files) {
  const auto add = [&](const std::string& name, const std::string& value, const std::string& message) {
    files.push_back(
        {"tensor: " + name, Reader::torch, torch_archive(with_tensor(value)), "FormatError", message});
  };
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  const std::string rebuild = global("torch._utils", "_rebuild_tensor_v2");
  const auto persistent = [](const std::string& parts) { return tuple(parts) + "Q"; };
  const std::string type = global("torch", "FloatStorage");

  add("a storage called", type + ")R", "torch.FloatStorage is not a function");
  add("a number called", "K\1)R", "expected a type, found an integer");
  add("an OrderedDict with arguments", global("collections", "OrderedDict") + "]\x85R", "with 1 arguments");
  add("arguments that are no tuple", rebuild + "]R", "expected a tuple, found a list");
  add("no arguments", rebuild + ")R", "_rebuild_tensor_v2 with 0 arguments");
  add("a number as storage", rebuild + tuple("K\1K\1))N}") + "R", "expected a storage, found an integer");
  add("a text as offset", rebuild + tuple(storage(4) + text("0") + "))N}") + "R",
      "expected an integer, found a text");
  add("a list as shape", rebuild + tuple(storage(4) + "K\1])N}") + "R", "expected a tuple, found a list");
  add("a parameter of nothing", global("torch._utils", "_rebuild_parameter") + tuple("NNN") + "R",
      "expected a tensor, found None");
  add("a persistent id of 2 parts", persistent(text("storage") + type), "a persistent id of 2 parts");
  add("a persistent id that is a text", text("storage") + "Q", "expected a tuple, found a text");
  add("another persistent id", persistent(text("module") + type + text("0") + text("cpu") + "K\4"),
      "persistent id \"module\" is not allowed");
  add("a storage type that is a text",
      persistent(text("storage") + text("x") + text("0") + text("cpu") + "K\4"),
      "expected a type, found a text");
  add("a storage type that is a function",
      persistent(text("storage") + rebuild + text("0") + text("cpu") + "K\4"),
      "torch._utils._rebuild_tensor_v2 is not a storage");
  add("a storage key that is a number", persistent(text("storage") + type + "K\1" + text("cpu") + "K\4"),
      "expected a text, found an integer");
  add("a storage size that is a text",
      persistent(text("storage") + type + text("0") + text("cpu") + text("4")),
      "expected an integer, found a text");
  add("a storage key of 1000 bytes", tensor(storage(4, std::string(1000, '0')), 0, {4}, {1}),
      "a storage key of more");
  add("a storage that is not there", tensor(storage(4, "1"), 0, {4}, {1}),
      "its storage \"1\" is not in the archive");
  add("a storage elsewhere", tensor(storage(4, "../data.pkl"), 0, {4}, {1}), "is not in the archive");
  add("a storage larger than its record", tensor(storage(5), 0, {4}, {1}), "a storage of 5 elements of F32");
  add("a storage of a wider type", tensor(storage(4, "0", "DoubleStorage"), 0, {2}, {1}),
      "4 elements of F64");
  add("a storage of 2^63 - 1 elements", tensor(storage(most), 0, {4}, {1}), "in a record of 16 bytes");
  add("a storage of 2^62 elements", tensor(storage(std::int64_t{1} << 62), 0, {4}, {1}),
      "in a record of 16 bytes");
  add("a storage of -1 elements", tensor(storage(-1), 0, {4}, {1}), "a storage of -1 elements");
  add("nine dimensions", tensor(storage(4), 0, {1, 1, 1, 1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1, 1, 1, 1}),
      "a tensor of 9 dimensions");
  add("more dimensions than strides", tensor(storage(4), 0, {2, 2}, {1}), "shape [2, 2] with strides [1]");
  add("a negative extent", tensor(storage(4), 0, {-1}, {1}), "bad shape [-1]");
  add("a shape that overflows", tensor(storage(4), 0, {std::int64_t{1} << 40, std::int64_t{1} << 40}, {1, 1}),
      "bad shape");
  add("a shape that wraps to 4", tensor(storage(4), 0, {(std::int64_t{1} << 62) + 1, 4}, {1, 1}),
      "bad shape");
  add("more elements than the storage", tensor(storage(4), 0, {5}, {1}),
      "has more elements than its storage of 4");
  add("a repeated element", tensor(storage(4), 0, {1000000}, {0}), "has more elements than its storage of 4");
  add("an offset that leaves the storage", tensor(storage(4), 1, {4}, {1}),
      "leave its storage of 4 elements");
  add("an offset behind the storage", tensor(storage(4), 5, {0}, {1}), "leave its storage of 4 elements");
  add("an offset of 2^63 - 1", tensor(storage(4), most, {2}, {1}), "leave its storage");
  add("a negative offset", tensor(storage(4), -1, {2}, {1}), "leave its storage");
  add("a scalar behind the storage", tensor(storage(4), 4, {}, {}), "leave its storage");
  add("a negative stride", tensor(storage(4), 3, {4}, {-1}), "leave its storage");
  add("a stride that leaves the storage", tensor(storage(4), 0, {2, 2}, {3, 1}), "leave its storage");
  add("a stride of 2^63 - 1", tensor(storage(4), 0, {2, 2}, {most, 1}), "leave its storage");
  add("strides whose sum overflows", tensor(storage(4), 2, {2, 2}, {most - 1, most - 1}),
      "leave its storage");
}

}  // namespace

std::vector<BrokenFile> broken_pickles() {
  std::vector<BrokenFile> files;
  add_programs(files);
  add_tensors(files);
  const auto archive = [&](const std::string& name, const std::string& bytes, const std::string& message) {
    files.push_back({"archive: " + name, Reader::torch, bytes, "FormatError", message});
  };
  const std::string program = with_tensor(tensor(storage(4), 0, {4}, {1}));
  archive("no data.pkl", make_zip({{"x/version", "3"}}).bytes, "holds no data.pkl");
  archive("data.pkl too deep", make_zip({{"x/y/data.pkl", program}}).bytes, "holds no data.pkl");
  archive("two data.pkl", make_zip({{"x/data.pkl", program}, {"y/data.pkl", program}}).bytes,
          "holds two data.pkl");
  archive("TorchScript", make_zip({{"x/data.pkl", program}, {"x/constants.pkl", ""}}).bytes,
          "a TorchScript archive");
  archive("big-endian", make_zip({{"x/data.pkl", program}, {"x/byteorder", "big"}}).bytes,
          "expected \"little\"");
  archive("a record in another directory",
          make_zip({{"x/data.pkl", program}, {"y/data/0", "0123456789abcdef"}}).bytes,
          "its storage \"0\" is not in the archive");
  archive("safetensors", safetensors_bytes("{}"), "not a PyTorch checkpoint");
  archive("empty", "", "not a PyTorch checkpoint");
  archive("the old format", "\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.", "from before version 1.6");
  archive("a text", "hello", "not a PyTorch checkpoint");
  return files;
}

}  // namespace attune_test
