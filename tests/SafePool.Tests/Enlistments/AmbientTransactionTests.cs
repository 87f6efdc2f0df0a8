using System.Transactions;
using SafePool.Driver;
using Xunit;

namespace SafePool.Tests.Enlistments;

public sealed class AmbientTransactionTests
{
    [Theory]
    [InlineData(TransactionScopeAsyncFlowOption.Enabled, true)]
    [InlineData(TransactionScopeAsyncFlowOption.Enabled, false)]
    [InlineData(TransactionScopeAsyncFlowOption.Suppress, true)]
    [InlineData(TransactionScopeAsyncFlowOption.Suppress, false)]
    public void Within_AnotherScope_LeavesThatAsItWas(TransactionScopeAsyncFlowOption flow, bool isOver)
    {
        using var other = new CommittableTransaction();
        if (isOver)
        {
            other.Commit();
        }

        using (var scope = new TransactionScope(TransactionScopeOption.Required, flow))
        {
            var outer = Transaction.Current;

            Assert.True(AmbientTransaction.Within(other, () => other.Equals(Transaction.Current)));

            Assert.NotNull(outer);
            Assert.Equal(outer, Transaction.Current);
            scope.Complete();
        }

        Assert.Null(Transaction.Current);
    }

    [Theory]
    [InlineData(TransactionScopeAsyncFlowOption.Enabled)]
    [InlineData(TransactionScopeAsyncFlowOption.Suppress)]
    public void Within_AScopeThatIsComplete_Works(TransactionScopeAsyncFlowOption flow)
    {
        using var other = new CommittableTransaction();
        using var scope = new TransactionScope(TransactionScopeOption.Required, flow);
        scope.Complete();

        Assert.True(AmbientTransaction.Within(other, () => other.Equals(Transaction.Current)));

        Assert.Throws<InvalidOperationException>(() => Transaction.Current);
    }
}
