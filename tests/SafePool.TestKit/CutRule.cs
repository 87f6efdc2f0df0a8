namespace SafePool.TestKit;

/// <summary>After how many bytes from the server a connection is ended, and how. A new rule begins to count anew.</summary>
internal sealed record CutRule(int Bytes, ConnectionEnd How);
