"""Everything about holding and running a language model.

Preparing and verifying a checkpoint (``prepare``, ``model_store``), text to tokens and back (``tokenizer``),
prompts (``prompt``), reasoning apart from the answer (``reasoning``), and engines behind one small protocol
(``protocol``): the slot engine (``slot_engine``), the client that runs it in a process of its own
(``engine_client``), vLLM in such a process (``vllm_engine``), and a server that others run (``openai_engine``).

Knows nothing of Temporal and imports of ours only ``dialogue``. torch and transformers are loaded by the modules
that compute (``slot_engine`` and those beside it, ``prepare``); ``protocol``, ``tokenizer``, ``prompt``,
``reasoning``, ``model_store``, ``engine_client`` and ``openai_engine`` stay light.
"""
