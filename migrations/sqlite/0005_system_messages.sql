-- What the operator said in a thread is given to the model whatever else is left out.

CREATE INDEX messages_of_system ON messages (thread, position) WHERE role = 'system';
