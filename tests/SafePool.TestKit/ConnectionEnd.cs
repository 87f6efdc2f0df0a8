namespace SafePool.TestKit;

internal enum ConnectionEnd
{
    /// <summary>FIN: what was sent arrives first.</summary>
    Finish,

    /// <summary>RST: what was not yet read may be lost.</summary>
    Reset,
}
