namespace SafePool.Driver;

/// <summary>What the failure of an open proves.</summary>
internal enum OpenFailureKind
{
    /// <summary>Nothing: waiting may cure it. Whatever is not known otherwise is of this kind.</summary>
    Curable,

    /// <summary>The server, or what stands before it, has answered, and will say the same until somebody changes something.</summary>
    RefusedForGood,

    /// <summary>Configuration or code in this process is at fault. About the server it says nothing.</summary>
    FaultHere,
}
