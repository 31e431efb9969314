// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <moepar/core/checks.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/device/numerics.hpp>
#include <moepar/nn/bind.hpp>
#include <moepar/parallel/axes.hpp>
#include <moepar/parallel/host_rank.hpp>
#include <moepar/plan/census_walk.hpp>
#include <moepar/plan/memory.hpp>
#include <moepar/topology/group.hpp>
#include <moepar/topology/layout.hpp>
#include <moepar/topology/step_shape.hpp>
#include <string>
#include <thread>
#include <utility>

namespace moepar {

//! One rank of a job while it runs: which one, how its model lies, and how it reaches the others. Connection: what a
//! transport gives to each rank, e.g. ThreadWorld::Rank.
template <class ModelType, class Connection> class JobRank {
 public:
  using Model = ModelType;
  using Communicator = decltype(std::declval<Connection&>().communicator("", Group{}));

  //! workers: threads that compute for this rank; 0: its share of the machine's cores.
  //! layout: a Deployment's, or one that only the run knows (checked_layout).
  JobRank(Connection& connection, const Layout& layout, Index workers)
      : connection_{&connection}, layout_{layout}, workers_{workers} {
    require_layout();
    const auto cores = static_cast<Index>(std::thread::hardware_concurrency());
    if (workers_ == 0) workers_ = std::max<Index>(1, cores / layout.world);
  }

  [[nodiscard]] Index rank() const { return connection_->rank(); }
  [[nodiscard]] Index world_size() const { return layout_.world; }
  [[nodiscard]] const Layout& layout() const { return layout_; }
  [[nodiscard]] bool is_first() const { return rank() == 0; }
  [[nodiscard]] Index workers() const { return workers_; }
  [[nodiscard]] Connection& connection() { return *connection_; }
  //! Communicators of all groups of the layout.
  [[nodiscard]] Axes<Communicator> axes() { return make_axes(*connection_, layout_); }

 private:
  //! A Deployment's layout is checked by the compiler; one made by hand is checked here.
  void require_layout() const {
    const Index experts = census_of<Model>().expert_count;
    if (experts > 0) check_degree_divides_expert_count(layout_.expert, experts);
    if (!layout_.legal() || layout_.world != connection_->world_size() || (experts == 0 && layout_.expert != 1))
      throw Error{"moepar: a layout of " + std::to_string(layout_.world) + " ranks, expert degree " +
                  std::to_string(layout_.expert) + " and shard degrees " + std::to_string(layout_.dense_shard) +
                  " and " + std::to_string(layout_.expert_shard) + " does not fit a world of " +
                  std::to_string(connection_->world_size()) +
                  " ranks. Fix: take it from a Deployment or from checked_layout."};
  }

  Connection* connection_;
  Layout layout_;
  Index workers_;
};

//! A rank on the CPU for `model`, which is bound to it: for programs that call forward and backward themselves. The
//! memory is what one step of the model takes (cost_of_job).
template <class Element = float, class ModelType, class Connection>
HostRank<Element, typename JobRank<ModelType, Connection>::Communicator> make_host_rank(
    JobRank<ModelType, Connection>& job, ModelType& model, const StepShape& shape, const Numerics& numerics = {}) {
  return {job.layout(),
          job.rank(),
          shape,
          bind_parameters(model, job.layout(), job.rank()),
          cost_of_job<ModelType>(job.layout(), job.rank(), shape).arenas,
          job.axes(),
          job.workers(),
          numerics};
}

}  // namespace moepar
