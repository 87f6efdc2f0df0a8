using System.Data;
using Npgsql;

namespace SafePool.TestKit;

/// <summary>A pretended physical connection. The source's lock guards it.</summary>
internal sealed class ScriptedPhysical(int number, int clears)
{
    /// <summary>Gets its place in the order of opens, from 1.</summary>
    public int Number { get; } = number;

    /// <summary>Gets how often the source had been cleared when its open began.</summary>
    public int Clears { get; } = clears;

    public bool IsGone { get; set; }

    /// <summary>Gets or sets whether a lease left something on the server that only a reset undoes.</summary>
    public bool IsLittered { get; set; }

    /// <summary>Gets or sets whether a reset waits for the next command, as it does after every close.</summary>
    public bool ResetTravels { get; set; }

    /// <summary>What Npgsql does before any command: what waits goes first.</summary>
    public void SendReset()
    {
        IsLittered &= !ResetTravels;
        ResetTravels = false;
    }
}

/// <summary>What the source knows about one connection object that is handed out.</summary>
internal sealed class ScriptedSession(NpgsqlConnection connection, ScriptedPhysical physical)
{
    public NpgsqlConnection Connection { get; } = connection;

    public ScriptedPhysical Physical { get; } = physical;

    public ConnectionState State { get; set; } = ConnectionState.Open;

    /// <summary>Gets or sets what its next close fails with.</summary>
    public Exception? CloseError { get; set; }

    /// <summary>Gets or sets the close that was told to stay incomplete.</summary>
    public TaskCompletionSource? HeldClose { get; set; }
}
