// Modules: what visit names, patterns, dropout sites, activations.
#include <doctest/doctest.h>
#include <attune/autograd/backward.hpp>
#include <attune/backend/reference/reference.hpp>
#include <attune/nn/activation.hpp>
#include <attune/nn/embedding.hpp>
#include <attune/nn/layer_norm.hpp>
#include <attune/nn/linear.hpp>
#include <attune/nn/module.hpp>
#include <attune/ops/sum.hpp>

using namespace attune;

namespace {

template <class T, class B>
struct Block {
  Linear<T, B> dense;
  LayerNorm<T, B> norm;
  Dropout dropout;

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part("dense", self.dense);
    part("dropout", self.dropout);
    part("norm", self.norm);
  }
};

template <class T, class B>
struct Net {
  Embedding<T, B> table;
  std::vector<Block<T, B>> layer;
  Linear<T, B> fused, tied, absent;

  explicit Net(const B& device) : table(device, 5, 4), fused(device, 4, 6, true, 3) {
    for (int i = 0; i < 2; ++i)
      layer.push_back({Linear<T, B>(device, 4, 4, i == 0), LayerNorm<T, B>(device, 4, 1e-5f), Dropout{0.1f}});
    tied.weight = table.weight;
  }

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part("table", self.table);
    part("layer", self.layer);
    part("query", self.fused.rows(0, 2));
    part("key", self.fused.rows(2, 4));
    part("value", self.fused.rows(4, 6));
    part("tied", self.tied);
    part("absent", self.absent);
  }
};

using TestNet = Net<float, Reference>;

}  // namespace

TEST_CASE("module: parameters under their names, tied ones once, absent ones never") {
  const TestNet net{Reference()};
  std::vector<std::string> names, listed;
  for_each_parameter(net, [&](const std::string& name, const auto&) { names.push_back(name); });
  for (const auto& p : list_parameters<Reference>(net)) listed.push_back(p.name);
  const std::vector<std::string> expected{"table.weight",        "layer.0.dense.weight",
                                          "layer.0.dense.bias",  "layer.0.norm.weight",
                                          "layer.0.norm.bias",   "layer.1.dense.weight",
                                          "layer.1.norm.weight", "layer.1.norm.bias",
                                          "query.weight",        "query.bias",
                                          "key.weight",          "key.bias",
                                          "value.weight",        "value.bias"};
  CHECK(listed == expected);
  auto all = expected;
  all.push_back("tied.weight");
  CHECK(names == all);
  CHECK(list_parameters<Reference>(net)[10].row_begin == 2);
  CHECK(list_parameters<Reference>(net)[10].shape() == Shape{2, 4});
}

TEST_CASE("module: dropouts are numbered in order") {
  TestNet net{Reference()};
  number_dropouts(net);
  std::vector<std::string> names;
  for_each_dropout(net, [&](const std::string& name, Dropout&) { names.push_back(name); });
  CHECK(names == std::vector<std::string>{"layer.0.dropout", "layer.1.dropout"});
  CHECK(net.layer[0].dropout.site == 0);
  CHECK(net.layer[1].dropout.site == 1);
}

TEST_CASE("module: freezing by pattern") {
  const TestNet net{Reference()};
  CHECK(any_trainable(net));
  CHECK(set_trainable<Reference>(net, "layer.*.norm.*", false) == 4);
  CHECK(!any_trainable(net.layer[0].norm));
  CHECK(any_trainable(net.layer[0]));
  CHECK(set_trainable<Reference>(net, "key.*", false) == 2);
  CHECK(net.fused.weight.trainable());
  CHECK(!net.fused.weight.rows(2, 4).trainable());
  CHECK(set_trainable<Reference>(net, "*", false) == 14);
  CHECK(!any_trainable(net));
  CHECK_THROWS_AS(set_trainable<Reference>(net, "tied.weight", true),
                  ConfigError);  // its name is table.weight
  CHECK_THROWS_AS(set_trainable<Reference>(net, "", true), ConfigError);
}

TEST_CASE("module: patterns") {
  CHECK(matches("*", ""));
  CHECK(matches("*", "a.b"));
  CHECK(matches("a.*.c", "a.b.c"));
  CHECK(matches("a.*.c", "a.b.c.c"));
  CHECK(matches("*a*", "xay"));
  CHECK(matches("**", "x"));
  CHECK(!matches("a", "ab"));
  CHECK(!matches("ab", "a"));
  CHECK(!matches("*.c", "a.b"));
  CHECK(!matches("", "a"));
  CHECK(!matches("a.b", "axb"));                                        // a point is a point
  CHECK(!matches(std::string(40, '*') + "b", std::string(5000, 'a')));  // quickly
}

TEST_CASE("module: probabilities and activations from a config") {
  CHECK(make_dropout(0.25, "field").probability == 0.25f);
  for (const double wrong : {1.0, -0.1, std::nan("")}) {
    try {
      make_dropout(wrong, "the_field");
      FAIL("accepted " << wrong);
    } catch (const ConfigError& error) {
      CHECK(std::string(error.what()).find("the_field") != std::string::npos);
    }
  }
  CHECK(activation_from_name("gelu") == Unary::gelu);
  CHECK(activation_from_name("gelu_new") == Unary::gelu_tanh);
  CHECK(activation_from_name("gelu_pytorch_tanh") == Unary::gelu_tanh);
  CHECK(activation_from_name("relu") == Unary::relu);
  CHECK(activation_from_name("silu") == Unary::silu);
  CHECK(activation_from_name("swish") == Unary::silu);
  CHECK_THROWS_AS(activation_from_name("selu"), ConfigError);
}

TEST_CASE("module: masks know their rows, and are inactive in eval() and for probability 0") {
  const std::vector<std::int32_t> lengths{2, 0, 3};
  const Segments segments = Segments::from_lengths(lengths);
  RunState run;
  run.seed = 7;
  run.samples = 4;
  const PassRandom random = PassRandom::draw(run, 3);
  CHECK(random.first_sample == 4);
  CHECK(run.samples == 7);
  const auto keys = token_keys(Reference(), segments, random.first_sample);
  CHECK(keys.samples.to_vector() == std::vector<std::int32_t>{4, 4, 6, 6, 6});
  CHECK(keys.positions.to_vector() == std::vector<std::int32_t>{0, 1, 0, 1, 2});
  Dropout dropout{0.5f, 3, true};
  CHECK(dropout.mask(random, keys));
  CHECK(dropout.mask(random, keys).view.site == 3);
  dropout.training = false;
  CHECK(!dropout.mask(random, keys));
  CHECK(!Dropout{0.0f, 3, true}.mask(random, keys));
}

TEST_CASE("module: layers call their operations") {
  const Linear<double, Reference> linear(Reference(), 2, 3);
  linear.weight.assign(std::vector<double>{1, 0, 0, 1, 1, 1});
  linear.bias.assign(std::vector<double>{0, 0, -1});
  const auto x = Tensor<double, Reference>::from_values(Reference(), {1, 2}, std::vector<double>{2, -3});
  CHECK(linear(x).to_vector() == std::vector<double>{2, -3, -2});
  CHECK(linear(x, Unary::relu).to_vector() == std::vector<double>{2, 0, 0});
  CHECK(linear.rows(1, 3)(x).to_vector() == std::vector<double>{-3, -2});
  const LayerNorm<double, Reference> norm(Reference(), 2, 1e-12f);
  norm.weight.assign(std::vector<double>{1, 2});
  norm.bias.assign(std::vector<double>{0, 1});
  const auto y = norm(x).to_vector();
  CHECK(y[0] == doctest::Approx(1.0));
  CHECK(y[1] == doctest::Approx(-1.0));
}
