namespace SafePool.Driver;

/// <summary>A session that had been let in ended when the pool asked it something for its own sake. The open connects again, and this never leaves it.</summary>
internal sealed class QuestionEndedSessionException(Exception end) : Exception(end.Message, end);
