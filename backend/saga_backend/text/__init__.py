"""Finding things by words: CLIP vectors of pictures of them, compared with the vector of a text."""
