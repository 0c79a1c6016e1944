"Continued pre-training of language models in the fastai Learner: data mixing, clunk detection, accuracy per source"
__version__ = "0.1.0"
