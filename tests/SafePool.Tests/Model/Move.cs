namespace SafePool.Tests.Model;

/// <summary>What happens to a pool in one move of a random history.</summary>
public enum MoveKind
{
    Rent,
    RentBriefly,
    TryRent,
    Return,
    ReturnTwice,
    Cancel,
    OpenSucceeds,
    OpenFails,
    Break,
    CloseFails,
    LoseIdle,
    Clear,
    PassTime,
    Drain,
}

/// <summary>A move, and a number that picks whom it befalls.</summary>
public sealed record Move(MoveKind Kind, int Pick);
