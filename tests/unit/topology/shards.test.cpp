// SPDX-License-Identifier: Apache-2.0
// Shards are runs of whole blocks: against a list of all elements.
#include <doctest/doctest.h>

#include <moepar/topology/shard.hpp>
#include <vector>

namespace mp = moepar;
using mp::Index;

TEST_CASE("every element belongs to one rank, blocks stay whole, rank 0 holds the most") {
  for (const Index copies : {1, 2, 5})
    for (const Index elements : {0, 1, 100, 1023, 1024, 1025, 2048, 4096, 5000})
      for (const Index degree : {1, 2, 3, 7, 8, 64}) {
        CAPTURE(copies);
        CAPTURE(elements);
        CAPTURE(degree);
        std::vector<Index> block_sizes;  // the stack, block by block, in words: each tensor is cut on its own
        for (Index copy = 0; copy < copies; ++copy)
          for (Index left = elements; left > 0; left -= mp::shard_block)
            block_sizes.push_back(std::min(left, mp::shard_block));
        const Index blocks = static_cast<Index>(block_sizes.size());
        Index covered = 0, total = 0;
        for (Index rank = 0; rank < degree; ++rank) {
          const auto range = mp::shard_blocks(copies, elements, degree, rank);
          CHECK(range.begin == covered);
          covered = range.end;
          CHECK(range.size() <= (blocks + degree - 1) / degree);
          Index sum = 0;
          for (Index block = range.begin; block < range.end; ++block)
            sum += block_sizes[static_cast<std::size_t>(block)];
          CHECK(mp::shard_elements(copies, elements, degree, rank) == sum);
          CHECK(sum <= mp::shard_elements(copies, elements, degree, 0));
          total += sum;
        }
        CHECK(covered == blocks);
        CHECK(total == copies * elements);
      }
}
