// What a file with the dependencies alone costs: the fixed measure of the compile-time budget. Its cost must not
// change with attune, so it includes nothing of it.
#include <Eigen/Dense>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <string>

int main(int argc, char** argv) {
  const nlohmann::json config = nlohmann::json::parse(argc > 1 ? argv[1] : R"({"rows": 24, "cols": 8})");
  const auto rows = config.value("rows", 24), cols = config.value("cols", 8);
  const Eigen::MatrixXf a = Eigen::MatrixXf::Random(rows, cols);
  const Eigen::VectorXf b = Eigen::VectorXf::Ones(rows);
  const Eigen::VectorXf x = (a.transpose() * a).ldlt().solve(a.transpose() * b);
  const nlohmann::json result = {{"solution", std::string(1, '[') + std::to_string(x.sum()) + "]"}};
  std::puts(result.dump(2).c_str());
}
