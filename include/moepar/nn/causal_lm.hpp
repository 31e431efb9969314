// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <moepar/core/index.hpp>
#include <moepar/core/rules.hpp>
#include <moepar/device/rank.hpp>
#include <moepar/nn/embedding.hpp>
#include <moepar/nn/linear.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/nn/rms_norm.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/topology/facts.hpp>

namespace moepar {

//! Whether the head of a language model has a matrix of its own or uses the values of the embedding table.
enum class HeadWeights { own, tied };

//! Language model: embedding, blocks, norm, and a head that scores the next token.
template <Index Vocabulary, class Blocks, HeadWeights Head = HeadWeights::own> struct CausalLm {
  static constexpr bool rules_hold = [] {
    if constexpr (!children_intact<Blocks>())
      return false;
    else if constexpr (!require_module<Blocks>())
      return false;
    else if constexpr (!require_hidden_is_known<Blocks::facts.hidden>())
      return false;
    else
      return require_sizes_are_positive<Vocabulary>();
  }();
  static_assert(detail::checked<rules_hold>);
  static constexpr ModuleFacts facts{.hidden = facts_of<Blocks>().hidden, .vocabulary = Vocabulary};

 private:
  static constexpr Index hidden_ = detail::size_or_one(facts.hidden);
  static constexpr Index vocabulary_ = detail::size_or_one(Vocabulary);

 public:
  Embedding<vocabulary_, hidden_> embedding{};
  Blocks blocks{};
  RmsNorm<hidden_> norm{};
  Linear<hidden_, vocabulary_> head{};

  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk("model.embed_tokens", self.embedding);
    walk("model", self.blocks);
    walk("model.norm", self.norm);
    if constexpr (Head == HeadWeights::own)
      walk("lm_head", self.head);
    else
      walk.tied("lm_head.weight", self.head.weight, self.embedding.weight);
  }

  static constexpr bool computes_inside = moepar::computes<Blocks>();

  //! Parameters are gathered and gradients reduced part by part (HybridShard then leaves that to it).
  static constexpr bool gathers_by_part = true;

  template <class Element> struct Record {
    typename Embedding<vocabulary_, hidden_>::template Record<Element> embedding{};
    RecordOf<Blocks, Element> blocks{};
    typename RmsNorm<hidden_>::template Record<Element> norm{};
  };

  //! ids: one token a row; output: rows x hidden, what the head reads. ids must live until backward.
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void forward(Rank& rank, const std::int32_t* ids, Matrix<Element> output, Record<Element>& record) const {
    auto& arena = rank.arena();
    const auto embedded = arena.template take<Element>(output.rows, hidden_);
    const auto last = arena.template take<Element>(output.rows, hidden_);
    rank.with_parameters(embedding, [&] { embedding.forward(rank, ids, embedded, record.embedding); });
    if constexpr (detail::gathers_by_part<Blocks>)
      blocks.forward(rank, embedded, last, record.blocks);
    else
      rank.with_parameters(blocks, [&] { blocks.forward(rank, embedded, last, record.blocks); });
    rank.with_parameters(norm, [&] { norm.forward(rank, last, output, record.norm); });
  }

  //! The cross entropy of the next token and its gradient in one go. targets: one token a row, -1 where there is none;
  //! scale: factor of the gradient, 1 / targets of the whole batch; losses: one a row. Sets the gradient of
  //! `hidden_rows` (what forward put out) and of the head.
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void loss(Rank& rank, ConstMatrix<Element> hidden_rows, const std::int32_t* targets, double scale,
                      double* losses, Matrix<Element> hidden_gradient) const {
    auto& arena = rank.arena();
    const Index mark = arena.mark();
    const auto logits = arena.template take<Element>(hidden_rows.rows, vocabulary_);
    rank.with_gradients(head, [&] {
      head_product(rank, hidden_rows, logits);
      rank.device().cross_entropy(rank.rows(), logits, targets, scale, losses);
      head.backward(rank, logits, hidden_gradient, {.input = hidden_rows});
    });
    arena.release(mark);
  }

  //! The cross entropy alone; or only the logits, rows x vocabulary.
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void score(Rank& rank, ConstMatrix<Element> hidden_rows, const std::int32_t* targets,
                       double* losses) const {
    auto& arena = rank.arena();
    const Index mark = arena.mark();
    const auto logits = arena.template take<Element>(hidden_rows.rows, vocabulary_);
    score(rank, hidden_rows, logits);
    rank.device().cross_entropy_losses(rank.rows(), logits, targets, losses);
    arena.release(mark);
  }
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void score(Rank& rank, ConstMatrix<Element> hidden_rows, Matrix<Element> logits) const {
    rank.with_parameters(head, [&] { head_product(rank, hidden_rows, logits); });
  }

  //! From the gradient of forward's output to the gradients of all but the head.
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void backward(Rank& rank, ConstMatrix<Element> output_gradient, Record<Element>& record) const {
    auto& arena = rank.arena();
    const Index mark = arena.mark();
    const auto last = arena.template take<Element>(output_gradient.rows, hidden_);
    const auto embedded = arena.template take<Element>(output_gradient.rows, hidden_);
    rank.with_gradients(norm, [&] { norm.backward(rank, output_gradient, last, record.norm); });
    if constexpr (detail::gathers_by_part<Blocks>)
      blocks.backward(rank, last, embedded, record.blocks);
    else
      rank.with_gradients(blocks, [&] { blocks.backward(rank, last, embedded, record.blocks); });
    rank.with_gradients(embedding, [&] { embedding.backward(rank, embedded, record.embedding); });
    arena.release(mark);
  }

 private:
  template <class Rank, class Element>
  constexpr void head_product(Rank& rank, Matrix<const Element> hidden_rows, Matrix<Element> logits) const {
    rank.device().multiply(rank.rows(), hidden_rows, rank.weights(head.weight), logits);
  }
};

}  // namespace moepar
