"""The seen task whose definition is most like another's: what words alone can choose.

SPoT (Vu et al., arXiv 2110.07904) retrieves a source prompt by the similarity of prompts; here no
row of the task is read. Similarity is the cosine of tf-idf weights of words and pairs of words.
"""

from collections.abc import Sequence

from sklearn.feature_extraction.text import TfidfVectorizer


def nearest_definitions(definitions: Sequence[str], seen: Sequence[str]) -> list[int]:
    """Return, for each definition, the place of the seen one most like it; of equals the first.

    Raises ValueError where the seen definitions have no words.
    """
    # Letters and signs count as words: "+" and "a" tell tasks apart.
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]")
    known = words.fit_transform(seen)  # [S, V], rows of length 1
    similarity = words.transform(definitions) @ known.T  # [T, S]
    return [int(row.argmax()) for row in similarity.toarray()]
