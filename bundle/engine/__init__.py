"""The chatglm_cpp engine: asked for, had from somewhere, checked and staged into a bundle."""
