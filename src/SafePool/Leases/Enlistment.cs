using System.Data;
using System.Transactions;
using Npgsql;
using SafePool.Driver;
using SafePool.Lifecycle.Enlistments;
using SafePool.Reports;
using SafePool.Time;

namespace SafePool.Leases;

/// <summary>That the connection in a place works for a <c>System.Transactions</c> transaction, from the first lease in it to its end.</summary>
/// <remarks>Whoever holds the place may use it, like the slot itself; <see cref="IsParked"/> and <see cref="IsOver"/> belong to <see cref="EnlistedPlaces"/>.</remarks>
internal sealed class Enlistment
{
    // The last of them sleep for a millisecond each.
    private const int MostSpins = 2000;

    private readonly Transaction _transaction;
    private readonly TaskCompletionSource _over = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <param name="slot">Where the connection is.</param>
    /// <param name="transaction">A clone of its own: the original is disposed with its scope.</param>
    /// <param name="physical">What the connection leads to.</param>
    public Enlistment(LeaseSlot slot, Transaction transaction, PhysicalConnection? physical)
    {
        Slot = slot;
        _transaction = transaction;
        Physical = physical;
    }

    public LeaseSlot Slot { get; }

    public Transaction Transaction => _transaction;

    public PhysicalConnection? Physical { get; }

    /// <summary>No lease is out: Npgsql keeps the connection for the next one in the same transaction.</summary>
    public bool IsParked { get; set; }

    /// <summary>The transaction has been committed or rolled back.</summary>
    public bool IsOver { get; private set; }

    /// <summary>It ended with a commit.</summary>
    public bool IsCommitted { get; private set; }

    /// <summary>Npgsql has let go of the connection: it is one like any other.</summary>
    public bool IsFree { get; private set; }

    /// <summary>A lease in it has set a <c>statement_timeout</c> of its own.</summary>
    public bool HasOwnTimeout { get; set; }

    /// <summary>The lease that was returned last, while the place is parked.</summary>
    public LeaseHolder? LastHolder { get; set; }

    /// <summary>When that lease was rented, as a timestamp of the pool's clock.</summary>
    public long HeldSince { get; set; }

    /// <summary>What is done on the connection now would be in no transaction.</summary>
    public bool HasEnded => IsOver || !IsActive;

    private bool IsActive => _transaction.TransactionInformation.Status == TransactionStatus.Active;

    /// <summary>Undoes what an attempt to enlist has left that failed.</summary>
    public static void Forswear(NpgsqlConnection connection, Transaction transaction)
    {
        try
        {
            if (transaction.TransactionInformation.Status == TransactionStatus.Active)
            {
                // It got half-way, with an isolation level that Npgsql does not know for example: a commit would lack something.
                transaction.Rollback();
            }
        }
        catch (Exception error) when (error is TransactionException or ObjectDisposedException)
        {
            // It is over.
        }

        Forget(connection);
    }

    /// <summary>What the use of a lease meets whose transaction is over: a <see cref="TransactionAbortedException"/>, or an <see cref="InvalidOperationException"/> after a commit.</summary>
    public Exception Refusal()
    {
        var sentence = Sentences.TransactionEnded(Slot.Pool.Name, IsCommitted);
        return IsCommitted ? new InvalidOperationException(sentence) : new TransactionAbortedException(sentence);
    }

    /// <summary>Called once, with the transaction's end.</summary>
    public void End()
    {
        IsCommitted = _transaction.TransactionInformation.Status == TransactionStatus.Committed;
        IsOver = true;
        _over.TrySetResult();
    }

    /// <summary>Sees to it that the transaction does not commit, and waits until its connection is free.</summary>
    public async ValueTask DoomAsync(NpgsqlConnection? connection)
    {
        if (!IsOver)
        {
            await OwnThread.RunAsync(Rollback).ConfigureAwait(false);
        }

        await WaitForEndAsync(connection).ConfigureAwait(false);
    }

    /// <summary>True when the transaction goes on. Otherwise the connection, if it is open, is free of it afterwards.</summary>
    public async ValueTask<bool> GoesOnAsync(NpgsqlConnection connection)
    {
        if (!IsOver && IsActive)
        {
            return true;
        }

        await WaitForEndAsync(connection).ConfigureAwait(false);
        return false;
    }

    /// <summary>Waits until Npgsql has let go of an open connection whose transaction is over. Takes no more than a moment, on whatever thread that ends.</summary>
    /// <remarks>
    /// Npgsql says that a transaction was committed before it cleans up, on the thread that commits. What it does last with an open connection is to forget
    /// the transaction. That shows when the connection is asked to enlist in it again: while it remembers, that is no news; afterwards it tries, and is refused.
    /// </remarks>
    public void LetGo(NpgsqlConnection connection)
    {
        var pause = new SpinWait();
        while (!IsFree && pause.Count < MostSpins && !IsForgotten(connection))
        {
            pause.SpinOnce();
        }

        // What the refused attempt has left. And should a rollback have met a close half-way, nobody else would ever do it.
        Forget(connection);
        IsFree = true;
    }

    private async ValueTask WaitForEndAsync(NpgsqlConnection? connection)
    {
        // Its rollback uses the connection.
        await _over.Task.ConfigureAwait(false);
        if (connection?.FullState == ConnectionState.Open)
        {
            LetGo(connection);
        }
    }

    private bool IsForgotten(NpgsqlConnection connection)
    {
        try
        {
            connection.EnlistTransaction(_transaction);
            return false;
        }
        catch (Exception refusal) when (refusal is TransactionException or InvalidOperationException)
        {
            return true;
        }
        catch (Exception)
        {
            // Npgsql forgot it between two looks at the same field, which it follows blindly: the next attempt is refused.
            return false;
        }
    }

    private static void Forget(NpgsqlConnection connection)
    {
        try
        {
            connection.EnlistTransaction(null);
        }
        catch (Exception)
        {
            // It broke: its close finds out.
        }
    }

    private void Rollback()
    {
        try
        {
            _transaction.Rollback();
        }
        catch (TransactionException)
        {
            // It is over.
        }
    }
}
