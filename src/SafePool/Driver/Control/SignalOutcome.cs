namespace SafePool.Driver.Control;

/// <summary>What became of the wish to cancel or end a session from outside.</summary>
internal enum SignalOutcome
{
    /// <summary>Nothing was sent: it could not be proven which backend is the session's, because a pooler is in between, or the server did not say.</summary>
    NotProvable = 0,

    /// <summary>The server of the session has sent the signal to it.</summary>
    Signalled,

    /// <summary>Nothing was sent: the server of the session knows no such session any more.</summary>
    SessionGone,

    /// <summary>Nothing was sent: under the name of the session's server another server answered, each time.</summary>
    OtherServer,

    /// <summary>Nothing was sent, as far as is known: no server answered in time, or it refused.</summary>
    NoAnswer,
}

/// <summary>Words for what became of it.</summary>
internal static class SignalOutcomes
{
    public static string Words(this SignalOutcome outcome) => outcome switch
    {
        SignalOutcome.Signalled => "the server has sent the signal",
        SignalOutcome.SessionGone => "the server knows no such session any more, and nothing was sent",
        SignalOutcome.OtherServer => "another server answered under its name, and nothing was sent",
        SignalOutcome.NoAnswer => "no server answered in time, or it refused",
        _ => "it cannot be proven which backend is the session's, so nothing was sent",
    };
}
