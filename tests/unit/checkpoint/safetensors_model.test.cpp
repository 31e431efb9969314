// SPDX-License-Identifier: Apache-2.0
#include "safetensors_test.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <numeric>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <moepar/checkpoint/model_folder.hpp>
#include <moepar/checkpoint/tensor_file.hpp>
#include <moepar/checkpoint/tensor_index.hpp>
#include <moepar/checkpoint/tensor_source.hpp>

namespace {

using moepar::Index;
using moepar::MixtralTensors;
using moepar::ModelFolder;
using moepar::TensorEntry;
using moepar::TensorFileWriter;
using moepar::TensorType;
using namespace safetensors_test;

using Shape = std::vector<std::uint64_t>;

std::size_t elements_of(const Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::size_t{1}, std::multiplies<>{});
}

// Every element of a tensor is another number, and so is every tensor.
std::vector<float> values_of(const TensorEntry& entry) {
  std::vector<float> values(elements_of(entry.shape));
  const auto start = static_cast<float>(std::hash<std::string>{}(entry.name) % 4096);
  std::iota(values.begin(), values.end(), start);
  return values;
}

void write_tensors(const std::string& path, const std::vector<TensorEntry>& entries) {
  TensorFileWriter writer = TensorFileWriter::create(path, entries, {{"format", "pt"}});
  for (const TensorEntry& entry : entries)
    if (moepar::is_writable(entry.type)) writer.write(entry.name, 0, values_of(entry));
  writer.finish();
}

std::vector<float> read_slice(const MixtralTensors& tensors, const moepar::TensorSlice& slice) {
  std::vector<float> values(static_cast<std::size_t>(slice.elements));
  tensors.read(slice, 0, values);
  return values;
}

std::string refused_index(const std::string& text) {
  return refusal([&] { (void)moepar::parse_tensor_index(text, "index"); });
}

TEST_CASE("tensors are spread over files as Hugging Face spreads them") {
  const auto sizes = [](std::initializer_list<std::uint64_t> bytes) {
    std::vector<TensorEntry> entries;
    for (const std::uint64_t size : bytes)
      entries.push_back({"t" + std::to_string(entries.size()), TensorType::U8, {size}});
    return entries;
  };
  const auto spread = [](const std::vector<TensorEntry>& entries, Index limit) {
    std::string text;
    for (const moepar::TensorShard& shard : moepar::shard_tensors(entries, limit)) {
      text += "|";
      for (const TensorEntry& entry : shard.entries) text += entry.name.substr(1);
    }
    return text;
  };
  CHECK(spread(sizes({6, 6, 2, 6, 2, 2}), 10) == "|0|12|345");
  CHECK(spread(sizes({1, 11, 2, 10}), 10) == "|1|02|3");  // a tensor above the limit goes before what is collected
  CHECK(spread(sizes({5, 5, 1}), 10) == "|01|2");
  CHECK(spread(sizes({11}), 10) == "|0");
  CHECK(spread(sizes({}), 10) == "|");
  const auto one = moepar::shard_tensors(sizes({1, 2}), 10);
  CHECK(one.at(0).file == "model.safetensors");
  const auto three = moepar::shard_tensors(sizes({9, 9, 9}), 10);
  CHECK(three.at(0).file == "model-00001-of-00003.safetensors");
  CHECK(three.at(2).file == "model-00003-of-00003.safetensors");
  CHECK(holds(refusal([&] { (void)moepar::shard_tensors(sizes({1}), 0); }), "max_bytes = 0"));
  CHECK(holds(refusal([] { (void)moepar::shard_tensors({{"a", TensorType::F4, {3}}}, 10); }), "no file can hold"));
}

TEST_CASE("an index has the bytes that transformers writes") {
  const std::vector<TensorEntry> entries{
      {"lm_head.weight", TensorType::F32, {2, 3}}, {"b\xc3\xa9", TensorType::BF16, {4}}, {"a", TensorType::F32, {1}}};
  const auto shards = moepar::shard_tensors(entries, 24);
  const std::string text = moepar::tensor_index_json(shards);
  CHECK(text == R"({
  "metadata": {
    "total_parameters": 11,
    "total_size": 36
  },
  "weight_map": {
    "a": "model-00002-of-00002.safetensors",
    "b\u00e9": "model-00002-of-00002.safetensors",
    "lm_head.weight": "model-00001-of-00002.safetensors"
  }
}
)");
  const moepar::TensorIndex index = moepar::parse_tensor_index(text);
  CHECK(index.total_size == 36);
  CHECK(index.places.size() == 3);
  CHECK(index.places[1] == moepar::TensorIndex::Place{"b\xc3\xa9", "model-00002-of-00002.safetensors"});
  CHECK(moepar::tensor_index_json({}) ==
        "{\n  \"metadata\": {\n    \"total_parameters\": 0,\n    \"total_size\": 0\n  },\n  \"weight_map\": {}\n}\n");
}

TEST_CASE("hostile indexes are refused") {
  const auto with_file = [](const std::string& file) {
    return refused_index(R"({"metadata":{},"weight_map":{"a":")" + file + "\"}}");
  };
  CHECK(with_file("model.safetensors").empty());
  for (const char* const file : {"", ".", "..", "../a.safetensors", "/etc/a.safetensors", "a/b.safetensors",
                                 R"(a\\b.safetensors)", ".safetensors", ".a.safetensors", "a.bin", "a.safetensors/",
                                 R"(a\u0000.safetensors)", R"(\u002e\u002e\u002fa.safetensors)", R"(a\n.safetensors)"})
    CHECK_MESSAGE(holds(with_file(file), "no plain name"), file);
  CHECK(holds(with_file(std::string(300, 'a') + ".safetensors"), "no plain name"));
  const std::string place = R"("a":"a.safetensors")";
  CHECK(holds(refused_index(""), "'index' is no valid index"));
  CHECK(holds(refused_index("[]"), "an object must stand here"));
  CHECK(holds(refused_index("{}"), "metadata is missing"));
  CHECK(holds(refused_index(R"({"metadata":{}})"), "weight_map is missing"));
  CHECK(holds(refused_index(R"({"weight_map":{)" + place + "}}"), "metadata is missing"));
  CHECK(holds(refused_index(R"({"metadata":{},"weight_map":{}})"), "names no tensor"));
  CHECK(holds(refused_index(R"({"metadata":{},"weight_map":{)" + place + "," + place + "}}"), "\"a\" stands twice"));
  CHECK(holds(refused_index(R"({"metadata":{},"metadata":{},"weight_map":{)" + place + "}}"), "stands twice"));
  CHECK(holds(refused_index(R"({"metadata":{},"weight_map":{)" + place + R"(},"weight_map":{}})"), "stands twice"));
  CHECK(holds(refused_index(R"({"metadata":{"total_size":1,"total_size":1},"weight_map":{)" + place + "}}"), "twice"));
  CHECK(holds(refused_index(R"({"metadata":{"total_size":-1},"weight_map":{)" + place + "}}"), "a number of bytes"));
  CHECK(holds(refused_index(R"({"metadata":{"total_size":1.5},"weight_map":{)" + place + "}}"), "a number of bytes"));
  CHECK(holds(refused_index(R"({"metadata":null,"weight_map":{)" + place + "}}"), "an object must stand"));
  CHECK(holds(refused_index(R"({"metadata":{},"weight_map":{"a":1}})"), "the name of a file must stand"));
  CHECK(holds(refused_index(R"({"metadata":{},"weight_map":[]})"), "an object must stand"));
  CHECK(holds(refused_index(R"({"metadata":{},"weight_map":{)" + place + "}}x"), "nothing may follow"));
  CHECK(holds(refused_index("{\"\xff\":1}"), "byte 2 is not UTF-8"));
  CHECK(holds(refused_index(R"({"metadata":)" + std::string(1'000'000, '[')), "must stand here"));
  CHECK(holds(refused_index(R"({"x":)" + std::string(1'000'000, '[')), "more than 127 levels deep"));
  CHECK(
      refused_index(R"({"x":[1,{"y":null}],"metadata":{"total_size":1,"z":[]},"weight_map":{)" + place + "}}").empty());
}

TEST_CASE("a model in several files is one model") {
  const ScratchFolder folder;
  const std::vector<TensorEntry> entries{{"c", TensorType::F32, {3, 5}},
                                         {"a", TensorType::BF16, {8}},
                                         {"d", TensorType::F16, {2, 2}},
                                         {"b", TensorType::F32, {}}};
  const auto shards = moepar::shard_tensors(entries, 61);
  REQUIRE(shards.size() == 2);
  for (const moepar::TensorShard& shard : shards) write_tensors(folder / shard.file, shard.entries);
  const std::string index = folder / "model.safetensors.index.json";
  const std::string text = moepar::tensor_index_json(shards);
  write_file(index, text);

  for (const std::string& path : {folder.path(), folder.path() + "/"}) {
    const ModelFolder model{path};
    CHECK(model.files().size() == 2);
    std::string names;
    for (const ModelFolder::Tensor& tensor : model.tensors()) names += tensor.info->name;
    CHECK(names == "abcd");
    CHECK(model.find("e") == nullptr);
    for (const TensorEntry& entry : entries) {
      const std::vector<float> expected = values_of(entry);
      REQUIRE(model.find(entry.name) != nullptr);
      std::vector<float> found(expected.size());
      model.read(*model.find(entry.name), 0, found);
      if (entry.type == TensorType::F32) CHECK(found == expected);
    }
  }
  CHECK(ModelFolder{folder / shards[0].file}.tensors().size() == shards[0].entries.size());

  const auto opened = [&] { return refusal([&] { (void)ModelFolder{folder.path()}; }); };
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string other = text;
    other.replace(other.find(from), from.size(), to);
    write_file(index, other);
    return opened();
  };
  CHECK(holds(replaced("\"a\"", "\"e\""), "tensor \"e\" is not in file"));
  CHECK(holds(replaced("    \"a\": \"model-00002-of-00002.safetensors\",\n", ""), "tensor \"a\" is in '"));
  CHECK(holds(replaced("\"a\": \"model-00002", "\"a\": \"model-00001"), "tensor \"a\" is not in file model-00001"));
  CHECK(holds(replaced("\"a\": \"model-00002", "\"a\": \"model-00003"), "No such file"));
  write_file(index, text);
  CHECK(opened().empty());
  write_tensors(folder / shards[1].file, {entries[0], entries[1], entries[2], entries[3]});
  CHECK(holds(opened(), "tensor \"c\" is in '"));  // in both files
  write_tensors(folder / shards[1].file, shards[1].entries);
  write_tensors(folder / "model.safetensors", entries);
  CHECK(holds(opened(), "two models"));
  std::filesystem::remove(index);
  CHECK(opened().empty());
  std::filesystem::remove(folder / "model.safetensors");
  CHECK(holds(opened(), "holds neither model.safetensors nor"));
  CHECK(holds(refusal([&] { (void)ModelFolder{folder / "absent"}; }), "No such file"));
  std::filesystem::create_directory(folder / "model.safetensors");
  CHECK(holds(opened(), "Is a directory"));
  std::filesystem::remove(folder / "model.safetensors");
  write_file(index, "");
  std::filesystem::resize_file(index, 100'000'001);  // sparse
  CHECK(holds(opened(), "has 100000001 bytes"));
}

const std::string layer = "model.layers.0.";
const std::string moe = layer + "block_sparse_moe.";

// One layer of experts, the newer way.
std::vector<TensorEntry> fused(std::uint64_t e, std::uint64_t f, std::uint64_t h) {
  return {{layer + "mlp.experts.gate_up_proj", TensorType::F32, {e, 2 * f, h}},
          {layer + "mlp.experts.down_proj", TensorType::F32, {e, h, f}},
          {layer + "mlp.gate.weight", TensorType::F32, {e, h}}};
}

TEST_CASE("experts are parts of the tensors of a layer") {
  constexpr Index e = 3, f = 4, h = 5;
  const ScratchFolder folder;
  const std::vector<TensorEntry> entries = fused(e, f, h);
  write_tensors(folder / "model.safetensors", entries);
  const ModelFolder model{folder.path()};
  MixtralTensors tensors{model};
  const std::vector<float> gate_up = values_of(entries[0]), down = values_of(entries[1]);
  const auto part = [](const std::vector<float>& all, Index first, Index count) {
    return std::vector<float>(all.begin() + first, all.begin() + first + count);
  };
  CHECK(read_slice(tensors, tensors.resolve(moe + "gate.weight", e, h)) == values_of(entries[2]));
  for (Index expert = 0; expert < e; ++expert) {
    const std::string name = moe + "experts." + std::to_string(expert);
    CHECK(holds(refusal([&] { tensors.require_all_used(); }), "tensors that the model has no place for"));
    const auto w1 = tensors.resolve(name + ".w1.weight", f, h, e);
    const auto w2 = tensors.resolve(name + ".w2.weight", h, f, e);
    const auto w3 = tensors.resolve(name + ".w3.weight", f, h, e);
    CHECK(read_slice(tensors, w1) == part(gate_up, expert * 2 * f * h, f * h));
    CHECK(read_slice(tensors, w3) == part(gate_up, (expert * 2 + 1) * f * h, f * h));
    CHECK(read_slice(tensors, w2) == part(down, expert * f * h, f * h));
    std::vector<float> some(3);
    tensors.read(w3, 7, some);
    CHECK(some == part(gate_up, (expert * 2 + 1) * f * h + 7, 3));
    CHECK(holds(refusal([&] { tensors.read(w1, f * h - 2, some); }), "3 elements of a part from 18 on"));
  }
  tensors.require_all_used();

  MixtralTensors half{model};
  (void)half.resolve(moe + "gate.weight", e, h);
  (void)half.resolve(moe + "experts.1.w1.weight", f, h, e);
  const std::string text = refusal([&] { half.require_all_used(); });
  CHECK(holds(text, "holds 2 tensors"));
  CHECK(holds(text, "gate_up_proj\" (1 of 6 parts used)"));
}

TEST_CASE("shapes are exact: other sizes, other counts and the transposed form are refused") {
  const ScratchFolder folder;
  const auto asked = [&](const std::vector<TensorEntry>& entries, const std::string& name, Index rows, Index columns,
                         Index experts) {
    write_tensors(folder / "model.safetensors", entries);
    const ModelFolder model{folder.path()};
    return refusal([&] { (void)MixtralTensors{model}.resolve(name, rows, columns, experts); });
  };
  const std::string w1 = moe + "experts.0.w1.weight", w2 = moe + "experts.0.w2.weight";
  const std::vector<TensorEntry> right = fused(8, 64, 64);
  CHECK(asked(right, w1, 64, 64, 8).empty());
  CHECK(asked(right, w2, 64, 64, 8).empty());
  CHECK(holds(asked(right, w1, 64, 64, 4), "has the shape [8, 128, 64], the model needs [4, 128, 64]"));
  CHECK(holds(asked(right, w1, 32, 64, 8), "the model needs [8, 64, 64]"));
  CHECK(holds(asked(right, moe + "experts.8.w1.weight", 64, 64, 8), "a layer with 8 experts"));

  const auto layer_of = [&](const Shape& gate_up, const Shape& down) {
    return std::vector<TensorEntry>{{layer + "mlp.experts.gate_up_proj", TensorType::F32, gate_up},
                                    {layer + "mlp.experts.down_proj", TensorType::F32, down}};
  };
  const auto transposed = layer_of({8, 64, 256}, {8, 128, 64});
  CHECK(holds(asked(transposed, w1, 128, 64, 8), "stored transposed"));
  CHECK(holds(asked(transposed, w2, 64, 128, 8), "stored transposed"));
  CHECK(asked(layer_of({8, 256, 64}, {8, 64, 128}), w1, 128, 64, 8).empty());
  const auto ambiguous = layer_of({8, 64, 64}, {8, 64, 64});
  CHECK(holds(asked(ambiguous, w1, 64, 64, 8), "needs [8, 128, 64]"));
  CHECK(holds(asked(ambiguous, w1, 32, 64, 8), "needs [8, 64, 32]"));
  const auto square_gate_up = layer_of({8, 64, 64}, {8, 32, 64});  // h = 2f: only the other tensor tells
  CHECK(holds(asked(square_gate_up, w1, 32, 64, 8), "stored transposed"));
  CHECK(holds(asked({right[0]}, w1, 64, 64, 8), "down_proj\" is missing"));

  const std::vector<TensorEntry> plain{{"m", TensorType::F32, {2, 3}},
                                       {"v", TensorType::F32, {3}},
                                       {"r", TensorType::F32, {1, 3}},
                                       {"i", TensorType::I8, {2, 3}},
                                       {"t", TensorType::F32, {3, 2, 1}}};
  CHECK(asked(plain, "m", 2, 3, 1).empty());
  CHECK(asked(plain, "v", 1, 3, 1).empty());
  CHECK(asked(plain, "r", 1, 3, 1).empty());
  CHECK(holds(asked(plain, "m", 3, 2, 1),
              "tensor \"m\" in '" + folder.path() + "' has the shape [2, 3], the model needs [3, 2]"));
  CHECK(holds(asked(plain, "m", 1, 6, 1), "needs [1, 6]"));
  CHECK(holds(asked(plain, "v", 3, 1, 1), "needs [3, 1]"));
  CHECK(holds(asked(plain, "v", 1, 4, 1), "has the shape [3], the model needs [4]"));
  CHECK(holds(asked(plain, "t", 3, 2, 1), "has the shape [3, 2, 1]"));
  CHECK(holds(asked(plain, "i", 2, 3, 1), "type I8, which is not read"));
  CHECK(holds(asked(plain, "x", 2, 3, 1), "tensor \"x\" is missing in '" + folder.path()));
  CHECK(holds(asked(plain, w1, 2, 3, 1), "w1.weight\" is missing"));
  for (const char* const name :
       {"block_sparse_moe.experts.", "block_sparse_moe.experts.x.w1.weight", "block_sparse_moe.experts.0.w4.weight",
        "block_sparse_moe.experts.-1.w1.weight", "block_sparse_moe.experts.0.w1.weight2",
        "block_sparse_moe.experts.99999999999999999999.w1.weight"})
    CHECK(holds(asked(right, layer + name, 64, 64, 8), "is missing"));
}

TEST_CASE("what nobody asked for is named") {
  const ScratchFolder folder;
  std::vector<TensorEntry> entries;
  for (int i = 0; i < 8; ++i) entries.push_back({"t" + std::to_string(i), TensorType::F32, {2}});
  entries.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", TensorType::F32, {2}});
  write_tensors(folder / "model.safetensors", entries);
  const ModelFolder model{folder.path()};
  MixtralTensors tensors{model};
  (void)tensors.resolve("t1", 1, 2);
  const std::string text = refusal([&] { tensors.require_all_used(); });
  CHECK(
      holds(text, "holds 7 tensors that the model has no place for: \"t0\", \"t2\", \"t3\", \"t4\", \"t5\", ... Fix") ==
      false);
  CHECK(holds(text, "holds 7 tensors that the model has no place for: \"t0\", \"t2\", \"t3\", \"t4\", \"t5\", ...."));
  for (const TensorEntry& entry : entries)
    if (entry.name.size() == 2) (void)tensors.resolve(entry.name, 1, 2);
  tensors.require_all_used();
}

TEST_CASE("tied parameters are stored once or equal") {
  const ScratchFolder folder;
  const std::string embedding = "model.embed_tokens.weight", head = "lm_head.weight";
  const TensorEntry first{embedding, TensorType::F32, {600, 500}}, second{head, TensorType::F32, {600, 500}};
  const auto stored = [&](const std::vector<TensorEntry>& entries, float last_of_head) {
    TensorFileWriter writer = TensorFileWriter::create(folder / "model.safetensors", entries);
    for (const TensorEntry& entry : entries) {
      std::vector<float> values = values_of(first);
      if (entry.name == head) values.back() = last_of_head;
      writer.write(entry.name, 0, values);
    }
    writer.finish();
    return refusal([&] {
      const ModelFolder model{folder.path()};
      MixtralTensors tensors{model};
      const auto slice = tensors.resolve_tied(embedding, head, 600, 500);
      CHECK(read_slice(tensors, slice).front() == values_of(first).front());
      tensors.require_all_used();
    });
  };
  const float last = values_of(first).back();
  CHECK(stored({first}, last).empty());
  CHECK(stored({second}, last).empty());
  CHECK(stored({first, second}, last).empty());
  CHECK(holds(stored({first, second}, last + 1), "tie_word_embeddings"));
  CHECK(holds(stored({{embedding, TensorType::BF16, {600, 500}}, second}, last), "differ"));
  CHECK(holds(stored({}, last), "tensor \"model.embed_tokens.weight\" is missing"));
}

TEST_CASE("the two files of one published model hold the same parameters") {
  const auto data = shared_data() / "tiny-mixtral";
  if (!std::filesystem::exists(data / "full_mixtral.safetensors")) {
    MESSAGE("skipped: there is no " << data);
    return;
  }
  const ModelFolder classic{(data / "mixtral_classic.safetensors").string()};
  const ModelFolder fused_model{(data / "full_mixtral.safetensors").string()};
  MixtralTensors left{classic}, right{fused_model};
  CHECK(classic.tensors().size() == 41);
  for (const ModelFolder::Tensor& tensor : classic.tensors()) {
    const std::string& name = tensor.info->name;
    const Shape& shape = tensor.info->shape;
    const Index rows = shape.size() == 1 ? 1 : static_cast<Index>(shape[0]);
    const Index copies = name.find(".experts.") != std::string::npos ? 4 : 1;
    const auto columns = static_cast<Index>(shape.back());
    const std::vector<float> expected = read_slice(left, left.resolve(name, rows, columns, copies));
    CHECK_MESSAGE(read_slice(right, right.resolve(name, rows, columns, copies)) == expected, name);
    CHECK(std::set<float>(expected.begin(), expected.end()).size() > (shape.size() == 1 ? 0u : 30u));
  }
  left.require_all_used();
  right.require_all_used();
}

}  // namespace
