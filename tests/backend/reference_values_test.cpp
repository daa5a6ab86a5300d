#include <doctest/doctest.h>
#include <attune/backend/reference/reference.hpp>

#include <cmath>
#include <vector>

// The reference against numbers that PyTorch 2 computes in float64 from the same formulas for the inputs.

using namespace attune;

namespace {

using Values = std::vector<double>;

/// f(0), f(1), ...
template <class F>
Values table_of(std::size_t n, const F& f) {
  Values values;
  for (std::size_t i = 0; i < n; ++i) values.push_back(f(static_cast<double>(i)));
  return values;
}

double sine(double x) { return std::sin(x); }
double cosine(double x) { return std::cos(x); }

MatrixView<double> rows_of(Values& values, std::int64_t cols) {
  return {values.data(), static_cast<std::int64_t>(values.size()) / cols, cols, cols};
}

void check_equal(const Values& found, const Values& expected, double tolerance = 1e-14) {
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    CAPTURE(i);
    CHECK(std::abs(found[i] - expected[i]) <= tolerance * (1.0 + std::abs(expected[i])));
  }
}

}  // namespace

TEST_CASE("Reference: activations equal torch.nn.functional's") {
  const Values x{-3.0, -0.5, 0.0, 1.0, 2.5};
  Values y(5);
  Reference{}.unary(Unary::gelu, x, y);
  check_equal(y, {-0.00404969409489031, -0.15426876936299344, 0.0, 0.841344746068543, 2.4844758366855597});
  Reference{}.unary(Unary::gelu_tanh, x, y);
  check_equal(y, {-0.0036373920817729943, -0.15428599017485606, 0.0, 0.8411919906082768, 2.484915733910001});
  Reference{}.unary(Unary::silu, x, y);
  check_equal(y, {-0.14227761953270035, -0.1887703343990727, 0.0, 0.7310585786300049, 2.3103545499468914});
}

TEST_CASE("Reference: cross_entropy equals torch's with class weights, label smoothing and an ignored row") {
  // The options hold the smoothing as a float: hence the tolerance.
  Values logits = table_of(12, sine), losses(3), lse(3), gradient(12);
  const std::vector<std::int32_t> labels{2, -100, 1};
  const Values weights{0.5, 1.0, 2.0, 1.5};
  const CrossEntropyOptions<double> options{-100, 0.1f, weights};
  const double one = 1.0;
  Reference{}.cross_entropy(rows_of(logits, 4), labels, options, losses, lse);
  check_equal(losses, {2.024633406732139, 0.0, 1.3506605666355918}, 1e-8);
  Reference{}.cross_entropy_backward(rows_of(logits, 4), labels, options, lse, 1.0, &one,
                                     rows_of(gradient, 4));
  check_equal(gradient,
              {0.26432238546249015, 0.6171661543584434, -1.1627669112348384, 0.28127837141390516, 0.0, 0.0,
               0.0, 0.0, 0.5230177236395707, -0.6243357404820463, 0.06556748316776936, 0.0357505336747064},
              1e-8);
}

TEST_CASE("Reference: bce_with_logits equals torch's") {
  const Values x{-3.0, -0.5, 0.0, 1.0, 2.5}, targets{0.0, 1.0, 0.5, 1.0, 0.0};
  Values losses(5);
  Reference{}.bce_with_logits(x, targets, losses);
  check_equal(losses, {0.048587351573742055, 0.9740769841801067, 0.6931471805599453, 0.31326168751822286,
                       2.5788897342925496});
}

TEST_CASE("Reference: layer_norm and l2_normalize equal torch's") {
  Values x = table_of(12, sine), y(12), statistics(3), more(3);
  const Values weight{0.5, 1.0, 2.0, 1.5}, bias{1.0, 2.0, 3.0, 4.0};
  Reference{}.layer_norm(rows_of(x, 4), {}, {}, weight, bias, 1e-5f, {}, rows_of(y, 4), statistics, more);
  check_equal(y,
              {0.4178290654223179, 2.9071542911731356, 5.148252869779215, 2.7745917146389316,
               0.6613063044007985, 0.9983726033337395, 3.1768559309948614, 6.385880233550849,
               1.6562414126063019, 2.573338176357753, 1.698038842551581, 2.1477393657307786},
              1e-11);
  // The first row is shorter than eps, the others are not.
  Reference{}.l2_normalize(rows_of(x, 4), 1.3f, rows_of(y, 4), statistics);
  check_equal(y,
              {0.0, 0.6472853729291511, 0.6994595590966782, 0.10855385235374401, -0.5348741169462359,
               -0.6777247403499448, -0.19747836296368695, 0.46432871061325376, 0.6327741336245125,
               0.2635829016835083, -0.34794523449048315, -0.6395741267055856},
              1e-7);
}

TEST_CASE("Reference: attention equals torch's scaled_dot_product_attention") {
  // There [1, H = 2, L = 4, D = 3]; here head h of token l is columns 3 h .. 3 h + 3 of row l.
  const auto packed = [](auto f) {
    Values values(24);
    for (std::size_t h = 0; h < 2; ++h)
      for (std::size_t l = 0; l < 4; ++l)
        for (std::size_t d = 0; d < 3; ++d) values[l * 6 + h * 3 + d] = f(double((h * 4 + l) * 3 + d));
    return values;
  };
  Values q = packed(sine), k = packed(cosine), v = packed([](double x) { return std::sin(2 * x); }), y(24),
         lse(8);
  const std::vector<std::int32_t> offsets{0, 4}, positions{0, 1, 2, 3};
  AttentionOptions options;
  options.query_segments = options.key_segments = {offsets.data(), 1, 4, 4, positions.data()};
  options.heads = options.kv_heads = 2;
  options.head_size = 3;
  options.scale = static_cast<float>(1.0 / std::sqrt(3.0));
  options.causal = true;
  Reference{}.attention(rows_of(q, 6), rows_of(k, 6), rows_of(v, 6), options, rows_of(y, 6), rows_of(lse, 2));
  check_equal(y,
              {0.0,
               0.9092974268256817,
               -0.7568024953079282,
               -0.9055783620066239,
               0.7625584504796027,
               0.27090578830786904,
               -0.13775951120409646,
               0.9487696088378562,
               -0.6518954314557905,
               -0.9454987685330519,
               0.6603373151920006,
               0.39590419899068313,
               -0.29286512234942447,
               0.9674457379750844,
               -0.5123338444292694,
               -0.966620852658173,
               0.521194824899677,
               0.5328336974446882,
               -0.36989646979002616,
               0.9458400930334713,
               -0.41732025540064166,
               -0.9457062685225676,
               0.4299191062617564,
               0.5878873164385583},
              1e-7);
}
