"""Where is a CPU faster than torch has it? There a training step is by C++ that the machine's compiler builds here."""
