"""What is where on the site: the sidebar, and the words under which search finds a page.

A section is a list of pages, named by their address: `nbs/howtos/one_gpu.ipynb` is
`howtos/one_gpu`. `docs/build.py` refuses pages that are in no section and names without a page.
"""
SECTIONS = {
    'Get started': [
        'howtos/install', 'tutorials/first', 'tutorials/your_data', 'tutorials/your_model',
        'tutorials/sql', 'howtos/read_report', 'howtos/cheat_sheet'],
    'Guides': [
        'howtos/one_gpu', 'howtos/eight_gpus', 'howtos/other_loops', 'tutorials/resume',
        'tutorials/replay', 'tutorials/encoder', 'howtos/keep', 'howtos/chats',
        'howtos/tasks', 'howtos/track', 'howtos/audit', 'howtos/many_machines',
        'howtos/troubleshooting'],
    'Understand': [
        'about/how_it_works', 'tutorials/clunk', 'tutorials/memorization', 'about/gallery',
        'about/glossary'],
    'Evidence': [
        'about/real_model', 'about/new_skill', 'about/new_facts', 'about/figures',
        'experiments/calibration', 'experiments/audit', 'experiments/pairs',
        'experiments/bad_input', 'experiments/recall', 'experiments/controllers',
        'experiments/anchors', 'experiments/sweep', 'experiments/suite', 'about/speedups',
        'about/models', 'about/compared'],
}

# room of chapters -> its title, and what it is for; in the order of the sidebar
ROOMS = {
    '': ('Learner, recipes, reports', 'What you call first: the learner and what it tells you'),
    'callback': ('Callbacks', 'Everything that runs inside a fit'),
    'data': ('Data and mixtures', 'From texts and chats to rows, and from rows to a mixture'),
    'inside': ('Inside the model', 'The loss surface between models, and what training changed'),
    'models': ('Models and metrics', 'The models that can be trained, and how they are measured'),
    'tasks': ('Tasks', 'Skills that can be checked'),
    'audit': ('The audit', 'Finds silent bugs in any training'),
    'clunk': ('The clunk test', 'The statistics behind the detector, and the logs it reads'),
}

# other words for what a page is about; search finds it first under these
WORDS = {
    'howtos/install': 'install, installation, pip install, cuda, cpu build, extras, requirements',
    'tutorials/first': 'getting started, quickstart, first steps, hello world, tutorial',
    'tutorials/your_data': 'own data, dataset, tokenize, parquet, jsonl, datasets',
    'tutorials/your_model': 'hugging face, transformers, lora, qlora, pretrained model, llama',
    'tutorials/sql': 'sql, text to sql, new skill, teach a chat model, instruction tuning, sft',
    'howtos/read_report': 'report, reports, cpt_report, what does the report mean, retention table',
    'howtos/cheat_sheet': 'cheat sheet, reference card, overview',
    'howtos/one_gpu': 'single gpu, memory, colab, bf16, mixed precision',
    'howtos/eight_gpus': 'distributed, ddp, fsdp, multi-gpu, accelerate, torchrun',
    'howtos/other_loops':
        'trainer, trainer callback, sfttrainer, trl, lightning, plain loop, dataloader',
    'tutorials/resume': 'resume, checkpoint, checkpoints, crash, interrupted, preemption, sigkill',
    'tutorials/encoder':
        'bert, roberta, modernbert, t5, encoder, masked language model, mlm, fill-mask, embeddings',
    'tutorials/replay':
        'how much replay, replay ratio, catastrophic forgetting, forgetting, rehearsal',
    'howtos/keep':
        'no original data, keep what it knew, self-replay, distillation, kl divergence',
    'howtos/chats': 'chat, chat template, instructions, messages, sharegpt, loss mask, assistant',
    'howtos/tasks':
        'tasks, evaluation, lm-evaluation-harness, samples, questions, benchmark scores',
    'howtos/track': 'wandb, weights & biases, tensorboard, mlflow, trackio, tracker, logging',
    'howtos/audit': 'silent bug, audit, sanity check, data leak, rows served twice',
    'howtos/many_machines': 'datatrove, ray, ray data, slurm, large corpus, cluster',
    'howtos/troubleshooting':
        'out of memory, oom, nan, loss is nan, tokenizer mismatch, too short, torchvision::nms, '
        'error, slow, does not work',
    'about/how_it_works': 'architecture, design, how it works, data flow',
    'tutorials/clunk':
        'clunk, clunks, stairs, staircase, loss drops every epoch, sawtooth, epoch boundary, '
        'overfitting',
    'tutorials/memorization': 'memorization, memorize, one pass, single example, one look',
    'about/gallery': 'loss curves, examples of curves, gallery',
    'about/glossary': 'glossary, terms, definitions, what is, nat, nats',
    'about/real_model': 'smollm2, pretrained, real model',
    'about/new_skill': 'cost of replay, price of a skill, lora or full, forgetting and learning',
    'about/new_facts': 'facts, new knowledge, knowledge injection, rag, retrieval, reversal curse',
    'about/figures': 'benchmarks, how fast, performance, numbers',
    'about/speedups':
        'speed-ups, faster training, time to loss, packing, torch.compile, bf16, throughput',
    'about/models': 'supported models, which models',
    'about/compared': 'alternatives, axolotl, llama-factory, unsloth, comparison, versus',
    'experiments/calibration': 'false positives, calibration, power, coverage, significance',
    'callback/averages':
        'ema, exponential moving average, checkpoint averaging, weight averaging, swa',
    'callback/speed': 'bfloat16, speed, faster steps, short rows first',
    'callback/guard': 'loss spike, spike, gradient norm, rollback, skip step',
    'verbs': 'early stopping, keep the best, learning rate finder, freeze, export',
    'data/schedule': 'curriculum, annealing, schedule, data mix, weights',
    'transfer':
        'which data to replay, transfer matrix, gauge of forgetting, kl without old data',
    'cooldowns':
        'micro-annealing, mid-training, candidate data, when to specialise, cooldown',
    'ladder': 'scaling ladder, small proxy model, does it hold at scale, rank correlation',
    'inside/surface':
        'loss surface, loss landscape, loss barrier, mode connectivity, model averaging, '
        'model soup, sharpness, flat minimum, flatness, contour plot',
    'inside/layers':
        'cka, centered kernel alignment, which layer, which layers to freeze, attention heads, '
        'effective rank, lora rank, singular values, interpretability, weight change',
    'data/corruption': 'masked tokens, span corruption, denoising, collator',
    'models/encoders': 'open_encoder, distilbert, electra, mamba, awd-lstm, rnn',
    'data/duplicates': 'deduplication, near duplicates, contamination, overlap',
}

# public names that mean something else on most pages, such as a method of another library: on
# other pages than their own they become a link only with their module, as `cptlib.data.chats.fit`
UNLINKED = {
    'audit', 'clunk', 'demo', 'fit', 'judge', 'kept', 'load_state', 'prepare', 'save_state',
    'saving', 'segments'}
